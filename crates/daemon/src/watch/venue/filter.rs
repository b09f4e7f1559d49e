//! Socket filter that passes router advertisements from the link, except exact repetitions of known
//! ones, which a venue may send every few seconds, and those of muted routers.

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, load_length, load_word, reject};
use socket2::SockFilter;

/// `SKF_NET_OFF` (`linux/filter.h`): base of offsets into the IPv6 header. Other offsets count from
/// the ICMPv6 header, where the data of a raw socket begin.
const NETWORK: u32 = 0xfff0_0000;
/// Offsets in an IPv6 header (RFC 8200, section 3).
const HOP_LIMIT: u32 = NETWORK + 7;
const SOURCE: u32 = NETWORK + 8;
/// Hop limit of a packet that no router has forwarded (RFC 4861, section 6.1.2).
const MAX_HOP_LIMIT: u32 = 255;
/// ICMPv6 type of a router advertisement.
const ADVERTISEMENT: u32 = 134;
/// Maximum length of a message to compare, in bytes: a jump spans at most 255 instructions.
/// Repetitions of longer messages pass.
const MAX_COMPARED: usize = 400;

/// Source address and content of a received message.
pub type Known = ([u8; 16], Vec<u8>);

/// Returns the filter program; it rejects repetitions of `known` and all messages of `muted`
/// routers.
pub fn unless_known(known: &[Known], muted: &[[u8; 16]]) -> Vec<SockFilter> {
    let mut program = vec![
        load_byte(HOP_LIMIT),
        jump_if_equal(MAX_HOP_LIMIT, 1, 0),
        reject(),
        load_byte(0),
        jump_if_equal(ADVERTISEMENT, 1, 0),
        reject(),
    ];
    for source in muted {
        let words: Vec<(u32, u32)> = words(SOURCE, source).collect();
        program.extend(reject_equal(&words));
    }
    for (source, message) in known {
        if message.len() <= MAX_COMPARED && message.len() % 4 == 0 {
            program.extend(reject_repetition(source, message));
        }
    }
    program.push(accept(u32::MAX));
    program
}

/// Returns instructions that reject an exact repetition of a message.
fn reject_repetition(source: &[u8; 16], message: &[u8]) -> Vec<SockFilter> {
    let pairs: Vec<_> = words(0, message).chain(words(SOURCE, source)).collect();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut program = vec![load_length(), jump_if_equal(length, 0, jump(2 * pairs.len() + 1))];
    program.extend(reject_equal(&pairs));
    program
}

/// Returns instructions that reject a packet with these words at these offsets.
fn reject_equal(pairs: &[(u32, u32)]) -> Vec<SockFilter> {
    let mut left = 2 * pairs.len() + 1;
    let mut program = Vec::new();
    for (offset, word) in pairs {
        left -= 2;
        program.extend([load_word(*offset), jump_if_equal(*word, 0, jump(left))]);
    }
    program.push(reject());
    program
}

/// Splits octets into 32-bit words with their offsets; the first is at `from`.
fn words(from: u32, octets: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let words = octets.chunks_exact(4).filter_map(|word| word.first_chunk().copied());
    (from..).step_by(4).zip(words.map(u32::from_be_bytes))
}

fn jump(instructions: usize) -> u8 {
    u8::try_from(instructions).unwrap_or(u8::MAX)
}
