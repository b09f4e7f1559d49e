use super::*;
use crate::Geometry;

#[test]
fn ascii_is_itself_except_where_a00_differs() {
    for scalar in ' '..='~' {
        let code = u8::try_from(u32::from(scalar)).unwrap();
        assert_eq!(Charset::A02.code(scalar), Some(code));
        let expected = if matches!(scalar, '\\' | '~') { None } else { Some(code) };
        assert_eq!(Charset::A00.code(scalar), expected, "{scalar}");
    }
}

#[test]
fn german_and_spanish_letters_come_from_rom_a00() {
    let codes: Vec<_> = "äßñöü°".chars().map(|scalar| Charset::A00.cell(scalar)).collect();
    assert_eq!(codes, [0xe1, 0xe2, 0xee, 0xef, 0xf5, 0xdf].map(Cell::Rom));
}

#[test]
fn missing_characters_have_legible_replacements() {
    let shown: String = "éèàåÉÄ Łódź – “x” …"
        .chars()
        .map(|s| Charset::A00.scalar(rom(Charset::A00.cell(s))))
        .collect();
    assert_eq!(shown, "eeaaEA Lodz - \"x\" .");
    assert_eq!(Charset::A02.cell('é'), Cell::Rom(0xe9));
    assert_eq!(Charset::A00.cell('漢'), Cell::Rom(b'?'));
}

fn rom(cell: Cell) -> u8 {
    match cell {
        Cell::Rom(code) => code,
        Cell::Custom(index) => panic!("custom glyph {index}"),
    }
}

#[test]
fn every_mapped_code_maps_back_and_has_dots() {
    for charset in [Charset::A00, Charset::A02] {
        for scalar in (0x20..0x2600).filter_map(char::from_u32) {
            let Some(code) = charset.code(scalar) else { continue };
            let back = charset.scalar(code);
            assert_eq!(charset.code(back), Some(code), "{scalar}");
            if !matches!(scalar, ' ') {
                assert_ne!(
                    rom_glyph(charset, code),
                    [0; 8],
                    "{charset:?} {scalar} {code:#x} has no dots"
                );
            }
        }
    }
}

#[test]
fn no_two_characters_of_a_rom_look_alike() {
    for charset in [Charset::A00, Charset::A02] {
        let mut seen: Vec<([u8; 8], char)> = Vec::new();
        for code in 0x10..=0xff {
            let scalar = charset.scalar(code);
            if scalar == char::REPLACEMENT_CHARACTER || charset.code(scalar) != Some(code) {
                continue;
            }
            let dots = rom_glyph(charset, code);
            let alike = seen.iter().find(|(other, _)| *other == dots);
            assert_eq!(alike, None, "{scalar} looks like another");
            seen.push((dots, scalar));
        }
    }
}

#[test]
fn a_frame_has_at_most_eight_custom_glyphs_and_keeps_the_heartbeat() {
    let mut frame = Frame::from_lines(Geometry { columns: 16, rows: 2 }, &["▁▂▃▄▅▆▇↑↓✓✗"]);
    frame.set(1, 15, HEARTBEAT);
    let cells = Charset::A00.cells(&frame);
    let mut custom: Vec<usize> = cells
        .iter()
        .filter_map(|cell| if let Cell::Custom(index) = cell { Some(*index) } else { None })
        .collect();
    custom.sort_unstable();
    custom.dedup();
    assert_eq!(custom.len(), CGRAM_SLOTS);
    assert_eq!(cells[31], Cell::Custom(0));
    assert_eq!(cells[7], Cell::Rom(b'^'), "no slot was left for the arrow");
    assert_eq!(cells[10], Cell::Rom(b'x'));
}

#[test]
fn glyphs_are_five_dots_wide_and_their_fallbacks_plain() {
    for (index, glyph) in GLYPHS.iter().enumerate() {
        assert!(glyph.rows.iter().all(|row| *row < 32));
        assert!(glyph.fallback.is_ascii());
        assert_eq!(
            glyph::index_of(glyph.scalar),
            Some(index),
            "twice in the table: {}",
            glyph.scalar
        );
    }
    assert_eq!(GLYPHS[0].scalar, HEARTBEAT);
}
