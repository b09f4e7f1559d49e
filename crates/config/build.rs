//! Embeds `boards/*.toml`, so that adding a board takes one new file.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../boards");
    println!("cargo::rerun-if-changed=../../boards");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Box<dyn Error>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut table = String::from("&[\n");
    for path in &files {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a board's file name is not UTF-8")?;
        table += &format!("    ({name:?}, include_str!({:?})),\n", path.display());
    }
    table += "]\n";
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("boards.rs"), table)?;
    Ok(())
}
