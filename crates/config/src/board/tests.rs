use std::collections::BTreeSet;

use super::*;

fn boards() -> Boards {
    Boards::default()
}

#[test]
fn every_board_in_the_folder_is_built_in_and_loads() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../boards");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| {
            name.strip_suffix(".toml").unwrap_or_else(|| panic!("{name} is no board")).to_owned()
        })
        .collect();
    assert_eq!(files, boards().names().into_iter().collect());
    for name in files {
        let board = boards().named(&name).unwrap_or_else(|error| panic!("{error}"));
        assert!(!board.description.is_empty(), "{name}");
    }
}

#[test]
fn no_two_boards_claim_the_same_machine() {
    let mut seen = BTreeSet::new();
    for name in boards().names() {
        for text in boards().named(&name).unwrap().compatible {
            assert!(
                seen.insert(text.clone()),
                "{text} is claimed twice, the second time by {name}"
            );
        }
    }
}

#[test]
fn the_device_tree_chooses_the_board() {
    for (compatible, board) in [
        ("raspberrypi,model-b-plus\0brcm,bcm2835\0", "raspberry-pi-1"),
        ("raspberrypi,2-model-b\0brcm,bcm2836\0", "raspberry-pi-2"),
        ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", "raspberry-pi-3"),
        ("raspberrypi,4-model-b\0brcm,bcm2711\0", "raspberry-pi-4"),
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", "raspberry-pi-5"),
        ("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", "raspberry-pi-zero-2-w"),
        ("raspberrypi,4-compute-module\0brcm,bcm2711\0", "compute-module-4"),
    ] {
        assert_eq!(Board::detect(compatible.as_bytes()).as_deref(), Some(board), "{compatible:?}");
    }
    assert_eq!(Board::detect(b"acme,unheard-of\0\xff\xfe\0"), None);
    assert_eq!(boards().resolve("auto", Some(b"acme,unheard-of\0")).unwrap().name, FALLBACK);
    assert_eq!(boards().resolve("auto", None).unwrap().name, FALLBACK);
}

#[test]
fn an_administrators_board_is_found_and_wins() {
    let text = "description = \"mine\"\ncompatible = [\"acme,board\"]\n[lcd]\nbus = \"off\"\n\
                address = 0x3f\n\
                wiring = \"usual\"\nsize = \"20x4\"\ncharset = \"A02\"\n[led]\ndevice = \"off\"\n";
    let extra = ["acme", "emulated"].map(|name| (name.to_owned(), Ok(text.to_owned())));
    let boards = Boards { extra: extra.into(), ..Boards::default() };
    assert_eq!(boards.resolve("auto", Some(b"acme,board\0")).unwrap().name, "acme");
    assert_eq!(boards.named("emulated").unwrap().description, "mine");
}

#[test]
fn an_unknown_board_is_reported_with_the_known_ones() {
    let error = boards().named("raspberry-pie-4").unwrap_err();
    assert_eq!(error.to_string(), "there is no board \"raspberry-pie-4\"");
    let help = error.help();
    assert!(help.contains("\"raspberry-pi-4\"") && help.contains("\"auto\""), "{help}");
}

#[test]
fn every_fault_of_a_board_is_reported_with_its_place() {
    let text = "description = \"bad\"\ncompatible = []\n[lcd]\nbus = \"off\"\naddress = 0x50\n\
                wiring = \"odd\"\n\
                size = \"3x3\"\ncharset = \"A01\"\n[led]\ndevice = \"off\"\nnoise = 1\n";
    let shown = |text: &str| -> Vec<String> {
        let error = Board::parse("bad", text).unwrap_err();
        error.faults().iter().map(ToString::to_string).collect()
    };
    let faults = shown(text);
    for part in [
        "bad.toml:5:11: error: 0x50 is not an expander's address\n    help: write 0x20",
        "bad.toml:6:11: error: unknown wiring \"odd\"\n    help: known are ",
        "bad.toml:7:9: error: \"3x3\" is not the size of a display\n    help: ",
        "bad.toml:8:12: error: unknown charset \"A01\"\n    help: known are A00, A02",
        "bad.toml:11:1: error: unknown key \"noise\"\n    help: known are ",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(part)), "{part:?}: {faults:#?}");
    }
    let missing = shown("description = \"bad\"\n[led]\ndevice = 1\n");
    for part in ["error: \"lcd\" is missing\n    help: add it", "bad.toml:3:10: error: this is of"]
    {
        assert!(missing.iter().any(|fault| fault.contains(part)), "{part:?}: {missing:#?}");
    }
    let syntax = shown("description = \u{201c}x\u{201d}\n");
    assert!(syntax.iter().any(|fault| fault.contains("typographic quote")), "{syntax:#?}");
}
