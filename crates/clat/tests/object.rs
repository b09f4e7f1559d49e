//! The BPF object, checked for verifiers of kernels on which the tests do not run. `make
//! system-test` loads it in Debian 12 (6.1), `make clat-test` in the running kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use object::{Object, ObjectSection};

/// The file's numbers are read in place, so its beginning has to be aligned for the largest.
#[repr(align(8))]
struct Aligned<Octets: ?Sized>(Octets);

static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/clat.bpf.o"));

/// The size of a stack slot, for which the verifier tracks the type, in octets (`BPF_REG_SIZE`).
const SLOT: i32 = 8;
/// `BPF_FUNC_skb_load_bytes` of linux/bpf.h.
const LOAD: i32 = 26;

/// An instruction (`struct bpf_insn` of linux/bpf.h).
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i32,
    value: i32,
}

impl Instruction {
    fn read(octets: &[u8]) -> Self {
        Self {
            code: octets[0],
            to: octets[1] & 15,
            from: octets[1] >> 4,
            offset: i16::from_le_bytes(octets[2..4].try_into().unwrap()).into(),
            value: i32::from_le_bytes(octets[4..8].try_into().unwrap()),
        }
    }

    /// Returns the stack offset and size of a write (`BPF_ST` and `BPF_STX`).
    fn writes_to_stack(self) -> Option<(i32, i32)> {
        let is_store = matches!(self.code & 7, 2 | 3) && self.to == 10;
        let octets = [4, 2, 1, 8][usize::from(self.code >> 3 & 3)];
        is_store.then_some((self.offset, octets))
    }
}

fn programs() -> Vec<(String, Vec<Instruction>)> {
    let object = object::File::parse(&OBJECT.0).expect("an object");
    let sections = object.sections().filter_map(|section| {
        let name = section.name().unwrap().strip_prefix("classifier/")?.to_owned();
        Some((name, section.data().unwrap().chunks_exact(8).map(Instruction::read).collect()))
    });
    sections.collect()
}

/// Returns the slots that octets of the stack are in.
fn slots((offset, octets): (i32, i32)) -> impl Iterator<Item = i32> {
    offset.div_euclid(SLOT)..=(offset + octets - 1).div_euclid(SLOT)
}

/// Returns the stack offset and size of each write by `bpf_skb_load_bytes`, set in r3 and r4.
fn loads(program: &[Instruction]) -> Vec<(i32, i32)> {
    let (mut place, mut octets, mut all) = (None, None, Vec::new());
    for instruction in program {
        let Instruction { code, to, from, value, .. } = *instruction;
        match (code, to) {
            (0xbf, 3) => place = (from == 10).then_some(0),
            (0x07, 3) => place = place.map(|place| place + value),
            (0xb7, 4) => octets = Some(value),
            (0x85, _) if value == LOAD => all.push((place.unwrap(), octets.unwrap())),
            _ => {}
        }
    }
    all
}

/// With CAP_BPF and without CAP_PERFMON, Linux 6.1 refuses to overwrite a part of a slot that holds
/// a number ("attempt to corrupt spilled pointer on stack"), since it takes it for a pointer; other
/// kernels did until b0e66977dc07 (6.13).
#[test]
fn no_stack_slot_is_overwritten_in_part() {
    let programs = programs();
    assert_eq!(programs.len(), 3);
    for (name, program) in programs {
        let stores: Vec<_> = program.iter().filter_map(|step| step.writes_to_stack()).collect();
        let loads = loads(&program);
        assert!(!stores.is_empty() && (name == "returned" || loads.len() > 2), "{name}: {loads:?}");
        let parts: Vec<_> =
            stores.iter().filter(|(place, octets)| *octets != SLOT || place % SLOT != 0).collect();
        assert!(parts.is_empty(), "{name} writes parts of slots, at {parts:?}");
        let of_helpers: BTreeSet<i32> = loads.into_iter().flat_map(slots).collect();
        let both: Vec<_> = stores
            .into_iter()
            .filter(|store| slots(*store).any(|slot| of_helpers.contains(&slot)))
            .collect();
        assert!(both.is_empty(), "{name} writes where a helper writes, at {both:?}");
    }
}
