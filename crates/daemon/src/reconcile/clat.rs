//! The order for `bramblegate-clat`, which translates IPv4 to IPv6 (RFC 6877): a file in the
//! run-time directory that exists while translation is wanted. The program has its own
//! capabilities, so the daemon needs no more than three.

use std::io;
use std::path::{Path, PathBuf};

use crate::event::{Applied, ApplyError, Output};
use crate::files::folder::{self, Folder, PUBLIC};
use crate::reconcile::Reconciler;
use crate::reconcile::error::{OutputError, into_apply_error};
use bramblegate_api::clat::{ORDER_FILE, Order};

/// Writes and removes the order.
#[derive(Debug)]
pub struct ClatReconciler {
    file: PathBuf,
}

/// The order file cannot be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the order for bramblegate-clat cannot be written or removed")]
pub struct ClatError {
    path: String,
    source: io::Error,
}

impl OutputError for ClatError {}

into_apply_error!(ClatError);

impl ClatReconciler {
    /// Returns the reconciler for the order in `run_directory`.
    pub fn new(run_directory: &Path) -> Self {
        Self { file: run_directory.join(ORDER_FILE) }
    }

    /// Writes the order, or removes the file for `None`.
    ///
    /// # Errors
    /// The file cannot be written or removed.
    pub fn put(&self, order: Option<&Order>) -> Result<(), ClatError> {
        let result = match order {
            Some(order) => self.write(order),
            None => folder::remove(&self.file),
        };
        result.map_err(|source| ClatError { path: self.file.display().to_string(), source })
    }

    fn write(&self, order: &Order) -> io::Result<()> {
        let (folder, name) = Folder::of(&self.file)?;
        folder.replace(name, &bramblegate_api::line(order), PUBLIC)
    }
}

impl Reconciler for ClatReconciler {
    type Desired = Option<Order>;
    const OUTPUT: Output = Output::Clat;

    async fn apply(&mut self, desired: &Option<Order>) -> Result<Applied, ApplyError> {
        self.put(desired.as_ref())?;
        Ok(Applied::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn order(prefix: &str) -> Order {
        let text = format!(r#"{{"uplink":"eth1","prefix":"{prefix}"}}"#);
        Order::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_order_exists_while_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clat.json");
        let reconciler = ClatReconciler::new(folder.path());
        reconciler.put(None).unwrap();
        for prefix in ["64:ff9b::/96", "2001:db8:64::/48"] {
            let order = order(prefix);
            reconciler.put(Some(&order)).unwrap();
            assert_eq!(Order::parse(&fs::read(&file).unwrap()).unwrap(), order);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        }
        reconciler.put(None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left beside it");
        let gone = ClatReconciler::new(&folder.path().join("gone"));
        gone.put(None).unwrap();
        let error = ApplyError::from(gone.put(Some(&order("64:ff9b::/96"))).unwrap_err());
        assert!(error.message.contains("gone/clat.json"), "{}", error.message);
    }
}
