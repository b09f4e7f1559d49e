//! Instructions of classic BPF (`linux/filter.h`, `linux/bpf_common.h`), for filters that the
//! kernel runs on each message or packet of a socket.
//!
//! Offsets are in bytes from the start of the socket's data: the frame, or what follows its header.
//! Loads convert from network order. A jump skips this many of the following instructions. A
//! program returns the number of bytes to let through.

use socket2::SockFilter;

const LOAD: u16 = 0x00;
const LOAD_INTO_X: u16 = 0x01;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
/// Operand sizes: `BPF_W`, `BPF_H`, `BPF_B`.
const WORD: u16 = 0x00;
const HALF: u16 = 0x08;
const BYTE: u16 = 0x10;
/// Addressing modes: absolute (`BPF_ABS`), relative to X (`BPF_IND`), `BPF_LEN`, `BPF_MSH`.
const AT: u16 = 0x20;
const FROM_X: u16 = 0x40;
const LENGTH: u16 = 0x80;
const IPV4_HEADER: u16 = 0xa0;
/// `BPF_JEQ`, `BPF_JSET`
const IF_EQUAL: u16 = 0x10;
const IF_ANY_BIT: u16 = 0x40;

/// Loads four bytes.
pub const fn load_word(offset: u32) -> SockFilter {
    SockFilter::new(LOAD | WORD | AT, 0, 0, offset)
}

/// Loads two bytes.
pub const fn load_half(offset: u32) -> SockFilter {
    SockFilter::new(LOAD | HALF | AT, 0, 0, offset)
}

/// Loads one byte.
pub const fn load_byte(offset: u32) -> SockFilter {
    SockFilter::new(LOAD | BYTE | AT, 0, 0, offset)
}

/// Loads the length of the data.
pub const fn load_length() -> SockFilter {
    SockFilter::new(LOAD | WORD | LENGTH, 0, 0, 0)
}

/// Loads into X the length of the IPv4 header at the offset.
pub const fn load_header_length(offset: u32) -> SockFilter {
    SockFilter::new(LOAD_INTO_X | BYTE | IPV4_HEADER, 0, 0, offset)
}

/// Loads two bytes at an offset from X.
pub const fn load_half_from_x(offset: u32) -> SockFilter {
    SockFilter::new(LOAD | HALF | FROM_X, 0, 0, offset)
}

/// Loads one byte at an offset from X.
pub const fn load_byte_from_x(offset: u32) -> SockFilter {
    SockFilter::new(LOAD | BYTE | FROM_X, 0, 0, offset)
}

/// Skips `if_so` instructions if the loaded value is `number`, else `if_not`.
pub const fn jump_if_equal(number: u32, if_so: u8, if_not: u8) -> SockFilter {
    SockFilter::new(JUMP | IF_EQUAL, if_so, if_not, number)
}

/// Skips `if_so` instructions if the loaded value has any bit of `bits`, else `if_not`.
pub const fn jump_if_any_bit(bits: u32, if_so: u8, if_not: u8) -> SockFilter {
    SockFilter::new(JUMP | IF_ANY_BIT, if_so, if_not, bits)
}

/// Ends the program and lets the first `length` bytes through.
pub const fn accept(length: u32) -> SockFilter {
    SockFilter::new(RETURN, 0, 0, length)
}

/// Ends the program and lets nothing through.
pub const fn reject() -> SockFilter {
    accept(0)
}
