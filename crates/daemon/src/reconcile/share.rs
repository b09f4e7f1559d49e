//! The order to update the NFS exports: a file in the run-time directory that
//! `bramblegate-share.path` watches. The unit it starts runs as root, and does not read the file.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::folder;

/// File in the run-time directory; the units name it too.
const ORDER: &str = "share";

/// The order file, and the order last written to it.
#[derive(Debug)]
pub struct ShareOrders {
    file: PathBuf,
    /// `None` before the first order of this run.
    last: Option<String>,
}

impl ShareOrders {
    /// Returns the orders for this directory, without writing one.
    pub fn new(run_directory: &Path) -> Self {
        Self { file: run_directory.join(ORDER), last: None }
    }

    /// Writes an order that differs from the last one. The first of a run is always written, unless
    /// it shares nothing and no earlier run left an order.
    ///
    /// # Errors
    /// The file cannot be written; the next call retries.
    pub fn give(&mut self, order: String) -> io::Result<()> {
        let is_idle = self.last.is_none() && order.is_empty() && !self.file.exists();
        if !is_idle && self.last.as_ref() != Some(&order) {
            folder::replace(&self.file, &order)?;
        }
        self.last = Some(order);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_ordered_and_so_is_the_end_of_all_shares() {
        let run = tempfile::tempdir().unwrap();
        let file = run.path().join(ORDER);
        let read = || fs::read_to_string(&file).ok();
        let mut orders = ShareOrders::new(run.path());
        orders.give(String::new()).unwrap();
        assert_eq!(read(), None, "nothing was ever shared");
        orders.give("/mnt/usb rw true\n".to_owned()).unwrap();
        assert_eq!(read().as_deref(), Some("/mnt/usb rw true\n"));
        fs::write(&file, "as it was").unwrap();
        orders.give("/mnt/usb rw true\n".to_owned()).unwrap();
        assert_eq!(read().as_deref(), Some("as it was"), "an equal order is no work");
        orders.give(String::new()).unwrap();
        assert_eq!(read().as_deref(), Some(""));
        let mut next_run = ShareOrders::new(run.path());
        fs::write(&file, "of an earlier run").unwrap();
        next_run.give(String::new()).unwrap();
        assert_eq!(read().as_deref(), Some(""), "the shares were taken out meanwhile");
        fs::remove_dir_all(run.path()).unwrap();
        assert!(next_run.give("/mnt/usb rw true\n".to_owned()).is_err());
    }
}
