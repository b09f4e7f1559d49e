//! Numbers in network byte order at byte offsets in a packet.

use crate::DropReason;

/// Returns `N` bytes at `at`.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], DropReason> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(DropReason::Truncated)
}

/// Returns the byte at `at`.
pub fn byte(bytes: &[u8], at: usize) -> Result<u8, DropReason> {
    bytes.get(at).copied().ok_or(DropReason::Truncated)
}

/// Returns the 16 bits at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DropReason> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Returns the 32 bits at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DropReason> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Writes 16 bits at `at`; does nothing beyond the end of `bytes`.
pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value.to_be_bytes();
    }
}
