//! Encodes a rule set as one transaction of nf_tables messages, with libnftnl.

use std::ffi::{CString, c_char, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;
use nftnl::{
    Batch, Chain as KernelChain, ChainType, Hook as KernelHook, MsgType, NlMsg, Policy, ProtoFamily,
};
use nftnl::{Rule as KernelRule, Table};

use super::elements::{Element, elements, of_key};
use super::expr::{fill, set_of};
use super::raw::{allocated, header, text};
use super::sets::{ELEMENTS_EACH, RawElements, RawSet};
use crate::decide::firewall::{
    Base, ChainKind, FlowTable, Hook, Ruleset, SetUpdate, TABLE, TABLE_COMMENT,
};

/// `NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST`
pub const OWNED: u32 = 0x2 | 0x4;
/// `NFT_MSG_DELTABLE`, `NFT_MSG_NEWTABLE`, `NFT_MSG_NEWFLOWTABLE`
const DELETE_TABLE: u16 = 2;
const NEW_TABLE: u16 = 0;
const NEW_FLOW_TABLE: u16 = 22;
/// Size of a page of the batch, bytes.
const PAGE: u32 = 32 * 1024;

/// The subject of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Start or end of the transaction.
    Batch,
    Removal,
    Table,
    FlowTable,
    /// A set or its elements, by the index of the set or of its update.
    Set(usize),
    /// A chain, by its index.
    Chain(usize),
    /// A rule or its anonymous set, by the indices of the chain and of the rule in it.
    Rule(usize, usize),
}

/// A transaction, ready to be sent in one system call.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// The subject of each message. The first and the last are the bounds of the transaction.
    pub labels: Vec<Label>,
}

/// Encodes the transaction that replaces our table by `ruleset`. `owned` requests the flags owner
/// and persist.
pub fn encode(ruleset: &Ruleset, owned: bool) -> Encoded {
    let mut writer = Writer::new();
    // Adding the table first makes the deletion succeed whether it exists or not, also before Linux
    // 6.3, which has `NFT_MSG_DESTROYTABLE`.
    writer.add(&RawTable::new(NEW_TABLE, None, None), Label::Removal);
    writer.add(&RawTable::new(DELETE_TABLE, None, None), Label::Removal);
    let flags = if owned { OWNED } else { 0 };
    writer.add(&RawTable::new(NEW_TABLE, Some(flags), Some(TABLE_COMMENT)), Label::Table);
    if let Some(table) = &ruleset.flow_table {
        writer.add(&RawFlowTable::new(table), Label::FlowTable);
    }
    let table = Table::new(text(TABLE), ProtoFamily::Inet);
    let chains: Vec<KernelChain<'_>> =
        ruleset.chains.iter().map(|chain| kernel_chain(chain, &table)).collect();
    for (index, chain) in chains.iter().enumerate() {
        writer.add(chain, Label::Chain(index));
    }
    let mut set_id = 0;
    // After the chains, since verdicts of map elements refer to them.
    for (index, set) in ruleset.sets.iter().enumerate() {
        set_id += 1;
        writer.add(&RawSet::new(set, set_id), Label::Set(index));
        writer.elements(&set.name, elements(&set.elements, set.interval), false, Label::Set(index));
    }
    for (chain_index, (chain, kernel_chain)) in ruleset.chains.iter().zip(&chains).enumerate() {
        for (index, rule) in chain.rules.iter().enumerate() {
            let label = Label::Rule(chain_index, index);
            set_id += 1;
            let set = set_of(rule, set_id, &table);
            if let Some(set) = &set {
                writer.add(set, label);
                set.elems_iter().for_each(|elements| writer.add(&elements, label));
            }
            let mut kernel_rule = KernelRule::new(kernel_chain);
            fill(&mut kernel_rule, rule, set.as_ref(), &ruleset.sets);
            // A comment that is too long is omitted; the rule matters more.
            let _ = kernel_rule.set_comment(text(&rule.comment));
            writer.add(&kernel_rule, label);
        }
    }
    writer.finish()
}

/// Encodes the transaction that changes only elements of sets.
pub fn encode_updates(updates: &[SetUpdate]) -> Encoded {
    let mut writer = Writer::new();
    for (index, update) in updates.iter().enumerate() {
        let gone = update.remove.iter().flat_map(|key| of_key(key, update.interval, None));
        writer.elements(&update.set, gone, true, Label::Set(index));
        writer.elements(
            &update.set,
            elements(&update.add, update.interval),
            false,
            Label::Set(index),
        );
    }
    writer.finish()
}

/// Encodes the transaction that removes our table, refused with `ENOENT` if it does not exist.
pub fn encode_removal() -> Encoded {
    let mut writer = Writer::new();
    writer.add(&RawTable::new(DELETE_TABLE, None, None), Label::Removal);
    writer.finish()
}

fn kernel_chain<'a>(chain: &crate::decide::firewall::Chain, table: &'a Table) -> KernelChain<'a> {
    let mut kernel = KernelChain::new(text(chain.name), table);
    if let Some(Base { kind, hook, priority }) = chain.base {
        let hook = match hook {
            Hook::Input => KernelHook::In,
            Hook::Output => KernelHook::Out,
            Hook::Forward => KernelHook::Forward,
            Hook::Prerouting => KernelHook::PreRouting,
            Hook::Postrouting => KernelHook::PostRouting,
        };
        kernel.set_hook(hook, priority);
        kernel.set_type(match kind {
            ChainKind::Filter => ChainType::Filter,
            ChainKind::Route => ChainType::Route,
            ChainKind::Nat => ChainType::Nat,
        });
        kernel.set_policy(Policy::Accept);
    }
    kernel
}

struct Writer {
    batch: Batch,
    labels: Vec<Label>,
}

impl Writer {
    fn new() -> Self {
        Self { batch: Batch::with_page_size(PAGE), labels: vec![Label::Batch] }
    }

    fn add(&mut self, message: &impl NlMsg, label: Label) {
        self.batch.add(message, MsgType::Add);
        self.labels.push(label);
    }

    /// Adds or removes elements of a set, in as many messages as necessary.
    fn elements(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = Element>,
        remove: bool,
        label: Label,
    ) {
        let elements: Vec<Element> = elements.into_iter().collect();
        for chunk in elements.chunks(ELEMENTS_EACH) {
            self.add(&RawElements::new(set, chunk, remove), label);
        }
    }

    /// Joins the pages, numbers the messages from 1, and requests an acknowledgement only of the
    /// last message before the end: one for each message would overrun the socket, and errors are
    /// reported anyway.
    fn finish(mut self) -> Encoded {
        self.labels.push(Label::Batch);
        let mut bytes = Vec::new();
        self.batch.finalize().iter().for_each(|page| bytes.extend_from_slice(page));
        let last = self.labels.len().saturating_sub(2);
        let mut rest = bytes.as_mut_slice();
        let mut index = 0;
        while let Some([l0, l1, l2, l3, _, _, f0, f1, s0, s1, s2, s3, ..]) =
            rest.first_chunk_mut::<16>()
        {
            let length = u32::from_ne_bytes([*l0, *l1, *l2, *l3]) as usize;
            let flags = u16::from_ne_bytes([*f0, *f1]) & !(libc::NLM_F_ACK as u16);
            let flags = if index == last { flags | libc::NLM_F_ACK as u16 } else { flags };
            [*f0, *f1] = flags.to_ne_bytes();
            index += 1;
            [*s0, *s1, *s2, *s3] = (index as u32).to_ne_bytes();
            let Some((_, after)) = rest.split_at_mut_checked(length.max(16).next_multiple_of(4))
            else {
                break;
            };
            rest = after;
        }
        Encoded { bytes, labels: self.labels }
    }
}

/// A message about our table with a command and flags that the `nftnl` crate lacks.
struct RawTable {
    table: NonNull<sys::nftnl_table>,
    command: u16,
}

impl RawTable {
    fn new(command: u16, flags: Option<u32>, comment: Option<&str>) -> Self {
        // SAFETY: no arguments; the pointer is checked before it is used.
        let table = allocated(unsafe { sys::nftnl_table_alloc() });
        let raw = table.as_ptr();
        // SAFETY: `raw` is a table of libnftnl's, which copies what the pointers point to; lengths
        // are those of the data.
        unsafe {
            sys::nftnl_table_set_u32(
                raw,
                sys::NFTNL_TABLE_FAMILY as u16,
                libc::NFPROTO_INET as u32,
            );
            sys::nftnl_table_set_str(raw, sys::NFTNL_TABLE_NAME as u16, text(TABLE).as_ptr());
            if let Some(flags) = flags {
                sys::nftnl_table_set_u32(raw, sys::NFTNL_TABLE_FLAGS as u16, flags);
            }
            if let Some(comment) = comment {
                let data = comment_data(comment);
                let attribute = sys::NFTNL_TABLE_USERDATA as u16;
                sys::nftnl_table_set_data(raw, attribute, data.as_ptr().cast(), data.len() as u32);
            }
        }
        Self { table, command }
    }
}

/// Encodes a comment in nft's userdata: type 0, length, zero-terminated text (`libnftnl/udata.h`).
pub fn comment_data(comment: &str) -> Vec<u8> {
    let text = comment.as_bytes().get(..comment.len().min(127)).unwrap_or_default();
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend(text);
    data.push(0);
    data
}

// SAFETY: writes one message of at most a few hundred bytes into the batch's buffer, which has 64
// KiB to spare.
unsafe impl NlMsg for RawTable {
    unsafe fn write(&self, buffer: *mut c_void, sequence: u32, _: MsgType) {
        // SAFETY: the caller gives room for a message; the table is valid.
        unsafe {
            let header = header(buffer, self.command, 0, sequence);
            sys::nftnl_table_nlmsg_build_payload(header, self.table.as_ptr());
        }
    }
}

impl Drop for RawTable {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { sys::nftnl_table_free(self.table.as_ptr()) };
    }
}

struct RawFlowTable(NonNull<sys::nftnl_flowtable>);

impl RawFlowTable {
    fn new(wanted: &FlowTable) -> Self {
        // SAFETY: no arguments; the pointer is checked before it is used.
        let table = allocated(unsafe { sys::nftnl_flowtable_alloc() });
        let raw = table.as_ptr();
        let names: Vec<CString> = wanted.devices.iter().map(|name| text(name)).collect();
        let mut devices: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        devices.push(std::ptr::null());
        // SAFETY: `raw` is a flow table of libnftnl's.
        let number = |attribute: u32, value: i32| unsafe {
            sys::nftnl_flowtable_set_u32(raw, attribute as u16, value as u32);
        };
        // SAFETY: as above; it copies the string.
        let name = |attribute: u32, name: &str| unsafe {
            sys::nftnl_flowtable_set_str(raw, attribute as u16, text(name).as_ptr());
        };
        number(sys::NFTNL_FLOWTABLE_FAMILY, libc::NFPROTO_INET);
        name(sys::NFTNL_FLOWTABLE_TABLE, TABLE);
        name(sys::NFTNL_FLOWTABLE_NAME, wanted.name);
        number(sys::NFTNL_FLOWTABLE_HOOKNUM, libc::NF_NETDEV_INGRESS);
        let attribute = sys::NFTNL_FLOWTABLE_DEVICES as u16;
        // SAFETY: as above; the array ends with null, and its strings are copied.
        unsafe {
            sys::nftnl_flowtable_set_s32(raw, sys::NFTNL_FLOWTABLE_PRIO as u16, 0);
            sys::nftnl_flowtable_set_array(raw, attribute, devices.as_mut_ptr());
        }
        Self(table)
    }
}

// SAFETY: writes one message of a few hundred bytes into the batch's buffer, which has 64 KiB to
// spare.
unsafe impl NlMsg for RawFlowTable {
    unsafe fn write(&self, buffer: *mut c_void, sequence: u32, _: MsgType) {
        // SAFETY: the caller gives room for a message; the flow table is valid.
        unsafe {
            let header = header(buffer, NEW_FLOW_TABLE, libc::NLM_F_CREATE as u16, sequence);
            sys::nftnl_flowtable_nlmsg_build_payload(header, self.0.as_ptr());
        }
    }
}

impl Drop for RawFlowTable {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { sys::nftnl_flowtable_free(self.0.as_ptr()) };
    }
}
