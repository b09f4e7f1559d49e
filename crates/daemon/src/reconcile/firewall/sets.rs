//! Named sets, maps and their elements as nf_tables messages, with libnftnl. (The `nftnl` crate
//! supports only sets of one field, and no maps.)

use std::ffi::c_void;
use std::ptr::NonNull;

use nftnl::nftnl_sys::{self as sys, libc};
use nftnl::{MsgType, NlMsg};

use super::elements::{Element, ElementData, OPEN};
use super::raw::{allocated, header, text};
use crate::decide::firewall::{DataKind, Kind, Set, TABLE};

/// `NFT_SET_CONCAT`: intervals of several fields (since Linux 5.6).
const CONCAT: u32 = 0x80;
/// nft's type number of a concatenation has six bits for each field (`TYPE_BITS` of nftables'
/// `datatype.h`).
const TYPE_BITS: u32 = 6;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`, `…_DATABYTEORDER`, `…_KEY_TYPEOF`, `…_DATA_TYPEOF` of
/// `libnftnl/udata.h`.
const KEY_ORDER: u8 = 0;
const DATA_ORDER: u8 = 1;
const KEY_TYPEOF: u8 = 3;
const DATA_TYPEOF: u8 = 4;
/// `NFTNL_UDATA_SET_TYPEOF_EXPR`, `NFTNL_UDATA_SET_TYPEOF_DATA`
const EXPRESSION: u8 = 0;
const PARTS: u8 = 1;
/// nft's `enum expr_types`
const EXPRESSION_VERDICT: u32 = 1;
const EXPRESSION_PAYLOAD: u32 = 7;
const EXPRESSION_META: u32 = 9;
const EXPRESSION_CONCATENATION: u32 = 13;
const EXPRESSION_NUMGEN: u32 = 23;
/// nft's `enum proto_desc_id`, and its numbers of their fields (`include/proto.h`)
const PROTOCOL_TCP: u32 = 8;
const TCP_DESTINATION: u32 = 2;
const PROTOCOL_IP: u32 = 12;
const IP_DESTINATION: u32 = 12;
const PROTOCOL_IP6: u32 = 13;
const IP6_DESTINATION: u32 = 9;
/// nft's `enum byteorder`, for the interpretation of elements.
const ORDER_NONE: u32 = 0;
const ORDER_HOST: u32 = 1;
const ORDER_NETWORK: u32 = 2;
/// Limit on elements per message: the attribute holds 64 KiB, and our elements have less than 250
/// bytes.
pub const ELEMENTS_EACH: usize = 200;

/// A set without elements.
pub struct RawSet(NonNull<sys::nftnl_set>);

impl RawSet {
    /// Makes a set. `id` must be unique within the batch.
    pub fn new(wanted: &Set, id: u32) -> Self {
        let set = named(&wanted.name);
        let raw = set.0.as_ptr();
        // SAFETY: `raw` is a set of libnftnl's.
        let number = |attribute: u32, value: u32| unsafe {
            sys::nftnl_set_set_u32(raw, attribute as u16, value);
        };
        // SAFETY: as above; it copies the data, whose length is given.
        let data = |attribute: u32, data: &[u8]| unsafe {
            sys::nftnl_set_set_data(raw, attribute as u16, data.as_ptr().cast(), data.len() as u32);
        };
        number(sys::NFTNL_SET_ID, id);
        number(sys::NFTNL_SET_FLAGS, flags(wanted));
        number(sys::NFTNL_SET_KEY_TYPE, type_of(&wanted.key));
        number(sys::NFTNL_SET_KEY_LEN, length_of(&wanted.key));
        match &wanted.data {
            None => {}
            Some(DataKind::Verdict) => number(sys::NFTNL_SET_DATA_TYPE, libc::NFT_DATA_VERDICT),
            Some(DataKind::Values(kinds)) => {
                number(sys::NFTNL_SET_DATA_TYPE, type_of(kinds));
                number(sys::NFTNL_SET_DATA_LEN, length_of(kinds));
            }
        }
        if wanted.interval && wanted.key.len() > 1 {
            let lengths: Vec<u8> = wanted.key.iter().map(|kind| length(*kind) as u8).collect();
            data(sys::NFTNL_SET_DESC_CONCAT, &lengths);
        }
        if let Some(size) = wanted.size {
            number(sys::NFTNL_SET_DESC_SIZE, size);
        }
        if let Some(seconds) = wanted.timeout {
            let milliseconds = seconds.saturating_mul(1000);
            // SAFETY: as above.
            unsafe { sys::nftnl_set_set_u64(raw, sys::NFTNL_SET_TIMEOUT as u16, milliseconds) };
        }
        data(sys::NFTNL_SET_USERDATA, &userdata(wanted));
        set
    }
}

/// Returns a libnftnl set with this name, in our table.
fn named(name: &str) -> RawSet {
    // SAFETY: no arguments; the pointer is checked before it is used.
    let set = allocated(unsafe { sys::nftnl_set_alloc() });
    // SAFETY: it is a set of libnftnl's, which copies the strings.
    unsafe {
        sys::nftnl_set_set_u32(
            set.as_ptr(),
            sys::NFTNL_SET_FAMILY as u16,
            libc::NFPROTO_INET as u32,
        );
        sys::nftnl_set_set_str(set.as_ptr(), sys::NFTNL_SET_TABLE as u16, text(TABLE).as_ptr());
        sys::nftnl_set_set_str(set.as_ptr(), sys::NFTNL_SET_NAME as u16, text(name).as_ptr());
    }
    RawSet(set)
}

fn flags(set: &Set) -> u32 {
    let flags = [
        (set.constant, libc::NFT_SET_CONSTANT as u32),
        (set.interval, libc::NFT_SET_INTERVAL as u32),
        (set.interval && set.key.len() > 1, CONCAT),
        (set.dynamic, libc::NFT_SET_EVAL as u32),
        (set.timeout.is_some(), libc::NFT_SET_TIMEOUT as u32),
        (set.data.is_some(), libc::NFT_SET_MAP as u32),
    ];
    flags.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, flag)| all | flag)
}

/// Returns nft's number of a type, with which it formats elements (`enum datatypes` of nftables'
/// `datatype.h`).
fn type_of(kinds: &[Kind]) -> u32 {
    kinds.iter().fold(0, |all, kind| all << TYPE_BITS | type_number(kind))
}

fn type_number(kind: &Kind) -> u32 {
    match kind {
        Kind::Number(_) => 4,
        Kind::Ipv4 => 7,
        Kind::Ipv6 => 8,
        Kind::Transport => 12,
        Kind::Port => 13,
        Kind::Interface => 41,
    }
}

/// Returns the length of a field, bytes.
const fn length(kind: Kind) -> u32 {
    match kind {
        Kind::Ipv4 | Kind::Number(_) => 4,
        Kind::Ipv6 => 16,
        Kind::Port => 2,
        Kind::Transport => 1,
        Kind::Interface => libc::IFNAMSIZ as u32,
    }
}

/// Returns the length of a key, bytes. Fields of a concatenation are padded to registers of four
/// bytes.
fn length_of(kinds: &[Kind]) -> u32 {
    match kinds {
        [one] => length(*one),
        fields => fields.iter().map(|kind| length(*kind).next_multiple_of(4)).sum(),
    }
}

/// Returns nft's userdata of a set: the byte order of its elements and, if a type has no name, the
/// expressions for `typeof`.
fn userdata(set: &Set) -> Vec<u8> {
    let mut data = entry(KEY_ORDER, byte_order(&set.key));
    if let Some(kind) = &set.data {
        let values =
            if let DataKind::Values(kinds) = kind { byte_order(kinds) } else { ORDER_NONE };
        data.extend(entry(DATA_ORDER, values));
    }
    if set.key.iter().any(|kind| matches!(kind, Kind::Number(_))) {
        data.extend(nested(KEY_TYPEOF, &example(&set.key)));
        match &set.data {
            None => {}
            Some(DataKind::Verdict) => {
                data.extend(nested(DATA_TYPEOF, &expression(EXPRESSION_VERDICT, &[])));
            }
            Some(DataKind::Values(kinds)) => data.extend(nested(DATA_TYPEOF, &example(kinds))),
        }
    }
    data
}

/// Returns nft's number of a byte order (nftables' `datatype.h`).
fn byte_order(kinds: &[Kind]) -> u32 {
    match kinds {
        [Kind::Interface | Kind::Number(_)] => ORDER_HOST,
        [_] => ORDER_NETWORK,
        _ => ORDER_NONE,
    }
}

/// Encodes an expression of these types for `typeof`, the one that `decide::firewall` prints.
fn example(kinds: &[Kind]) -> Vec<u8> {
    if let [kind] = kinds {
        return example_of_one(*kind);
    }
    let fields = kinds.iter().zip(0..).map(|(kind, place)| nested(place, &example_of_one(*kind)));
    expression(EXPRESSION_CONCATENATION, &fields.collect::<Vec<_>>().concat())
}

fn example_of_one(kind: Kind) -> Vec<u8> {
    let payload = |protocol, field| {
        expression(EXPRESSION_PAYLOAD, &[entry(0, protocol), entry(1, field)].concat())
    };
    let meta = |key: i32| expression(EXPRESSION_META, &entry(0, key as u32));
    match kind {
        Kind::Ipv4 => payload(PROTOCOL_IP, IP_DESTINATION),
        Kind::Ipv6 => payload(PROTOCOL_IP6, IP6_DESTINATION),
        Kind::Port => payload(PROTOCOL_TCP, TCP_DESTINATION),
        Kind::Transport => meta(libc::NFT_META_L4PROTO),
        Kind::Interface => meta(libc::NFT_META_IIFNAME),
        Kind::Number(modulus) => {
            let (mode, offset) = (libc::NFT_NG_INCREMENTAL as u32, 0);
            let parts = [entry(0, mode), entry(1, modulus), entry(2, offset)];
            expression(EXPRESSION_NUMGEN, &parts.concat())
        }
    }
}

/// Encodes an expression in userdata: its number and its parts.
fn expression(number: u32, parts: &[u8]) -> Vec<u8> {
    [entry(EXPRESSION, number), nested(PARTS, parts)].concat()
}

/// Encodes a number in userdata: type, length, value.
fn entry(kind: u8, value: u32) -> Vec<u8> {
    nested(kind, &value.to_ne_bytes())
}

/// Encodes bytes in userdata: type, length, bytes.
fn nested(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [[kind, bytes.len() as u8].as_slice(), bytes].concat()
}

// SAFETY: writes one message of a few hundred bytes into the batch's buffer, which has 64 KiB to
// spare.
unsafe impl NlMsg for RawSet {
    unsafe fn write(&self, buffer: *mut c_void, sequence: u32, _: MsgType) {
        // SAFETY: the caller gives room for a message; the set is valid.
        unsafe {
            let header =
                header(buffer, libc::NFT_MSG_NEWSET as u16, libc::NLM_F_CREATE as u16, sequence);
            sys::nftnl_set_nlmsg_build_payload(header, self.0.as_ptr());
        }
    }
}

impl Drop for RawSet {
    fn drop(&mut self) {
        // SAFETY: allocated in `named`, freed once, with the elements that were added.
        unsafe { sys::nftnl_set_free(self.0.as_ptr()) };
    }
}

/// A message that adds elements to a set, or removes them.
pub struct RawElements {
    set: RawSet,
    command: u16,
}

impl RawElements {
    /// Makes the message for at most [`ELEMENTS_EACH`] elements.
    pub fn new(set: &str, elements: &[Element], remove: bool) -> Self {
        let set = named(set);
        for element in elements {
            let raw = raw_element(element);
            // SAFETY: both are libnftnl's; the set takes the element over.
            unsafe { sys::nftnl_set_elem_add(set.0.as_ptr(), raw.as_ptr()) };
        }
        let command = if remove { libc::NFT_MSG_DELSETELEM } else { libc::NFT_MSG_NEWSETELEM };
        Self { set, command: command as u16 }
    }
}

fn raw_element(element: &Element) -> NonNull<sys::nftnl_set_elem> {
    // SAFETY: no arguments; the pointer is checked before it is used.
    let raw = allocated(unsafe { sys::nftnl_set_elem_alloc() });
    let set = |attribute: u32, bytes: &[u8]| {
        // SAFETY: `raw` is an element of libnftnl's, which copies the bytes: at most 64, the room
        // that it has for them.
        unsafe {
            sys::nftnl_set_elem_set(
                raw.as_ptr(),
                attribute as u16,
                bytes.as_ptr().cast(),
                bytes.len() as u32,
            );
        }
    };
    set(sys::NFTNL_SET_ELEM_KEY, &element.key);
    if let Some(end) = &element.key_end {
        set(sys::NFTNL_SET_ELEM_KEY_END, end);
    }
    if !element.begins {
        set(sys::NFTNL_SET_ELEM_FLAGS, &(libc::NFT_SET_ELEM_INTERVAL_END as u32).to_ne_bytes());
    }
    if element.open {
        set(sys::NFTNL_SET_ELEM_USERDATA, &OPEN);
    }
    match &element.data {
        None => {}
        Some(ElementData::Value(bytes)) => set(sys::NFTNL_SET_ELEM_DATA, bytes),
        Some(ElementData::Verdict(code, chain)) => {
            set(sys::NFTNL_SET_ELEM_VERDICT, &code.to_ne_bytes());
            if let Some(chain) = chain {
                set(sys::NFTNL_SET_ELEM_CHAIN, text(chain).as_bytes_with_nul());
            }
        }
    }
    raw
}

// SAFETY: writes one message of less than 64 KiB into the batch's buffer, which has that much to
// spare.
unsafe impl NlMsg for RawElements {
    unsafe fn write(&self, buffer: *mut c_void, sequence: u32, _: MsgType) {
        // SAFETY: the caller gives room for a message; the set is valid.
        unsafe {
            let header = header(buffer, self.command, libc::NLM_F_CREATE as u16, sequence);
            sys::nftnl_set_elems_nlmsg_build_payload(header, self.set.0.as_ptr());
        }
    }
}
