//! Finds the Rust sources of the repository.

use std::fs;
use std::path::Path;

/// Returns all Rust files below `root/folder`, with their path from the root and their text,
/// sorted.
pub fn rust_files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(root, &root.join(folder), &mut found);
    found.sort();
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}
