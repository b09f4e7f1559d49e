//! Lets router advertisements of neighbours through, in the kernel, but for exact repetitions of
//! those that are known, which a venue may send every few seconds, and all of routers that flood.

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, load_length, load_word, reject};
use socket2::SockFilter;

/// `SKF_NET_OFF` of `linux/filter.h`: counts from the IPv6 header. All else counts from the ICMPv6
/// header, where the data of a raw socket begin.
const NETWORK: u32 = 0xfff0_0000;
/// Offsets in an IPv6 header (RFC 8200, section 3).
const HOP_LIMIT: u32 = NETWORK + 7;
const SOURCE: u32 = NETWORK + 8;
/// What only a neighbour's packet can still have (RFC 4861, section 6.1.2).
const NEIGHBOUR: u32 = 255;
/// The type of a router advertisement.
const ADVERTISEMENT: u32 = 134;
/// Jumps reach no further than 255 instructions; a longer message is heard each time.
const LONGEST: usize = 400;

/// What has been heard: from whom, and the message.
pub type Known = ([u8; 16], Vec<u8>);

/// Returns the program; nothing of `muted` routers passes.
pub fn news(known: &[Known], muted: &[[u8; 16]]) -> Vec<SockFilter> {
    let mut program = vec![
        load_byte(HOP_LIMIT),
        jump_if_equal(NEIGHBOUR, 1, 0),
        reject(),
        load_byte(0),
        jump_if_equal(ADVERTISEMENT, 1, 0),
        reject(),
    ];
    for source in muted {
        let words: Vec<(u32, u32)> = words(SOURCE, source).collect();
        program.extend(rejected(&words));
    }
    for (source, message) in known {
        if message.len() <= LONGEST && message.len() % 4 == 0 {
            program.extend(repetition(source, message));
        }
    }
    program.push(accept(u32::MAX));
    program
}

/// Rejects what is the same to the last bit.
fn repetition(source: &[u8; 16], message: &[u8]) -> Vec<SockFilter> {
    let pairs: Vec<_> = words(0, message).chain(words(SOURCE, source)).collect();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut program = vec![load_length(), jump_if_equal(length, 0, jump(2 * pairs.len() + 1))];
    program.extend(rejected(&pairs));
    program
}

/// Rejects a packet that has these words at these offsets.
fn rejected(pairs: &[(u32, u32)]) -> Vec<SockFilter> {
    let mut left = 2 * pairs.len() + 1;
    let mut program = Vec::new();
    for (offset, word) in pairs {
        left -= 2;
        program.extend([load_word(*offset), jump_if_equal(*word, 0, jump(left))]);
    }
    program.push(reject());
    program
}

/// Returns the words of some octets, with their offsets.
fn words(from: u32, octets: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let words = octets.chunks_exact(4).filter_map(|word| word.first_chunk().copied());
    (from..).step_by(4).zip(words.map(u32::from_be_bytes))
}

fn jump(instructions: usize) -> u8 {
    u8::try_from(instructions).unwrap_or(u8::MAX)
}
