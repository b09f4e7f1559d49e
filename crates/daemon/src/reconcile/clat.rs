//! The order for the program that translates IPv4 to IPv6 (`bramblegate-clat`): a file in the run
//! folder, there while a translator is wanted. The program has rights of its own; the daemon's stay
//! three.

use std::io;
use std::path::{Path, PathBuf};

use crate::event::{Applied, ApplyError, ApplyErrorKind, Output};
use crate::files::folder::{self, Folder, PUBLIC};
use crate::reconcile::Reconciler;
use crate::reconcile::error::{OutputError, into_apply_error};
use bramblegate_api::clat::{ORDER_FILE, Order};

/// Writes the order, whole or not at all, and takes it away.
#[derive(Debug)]
pub struct ClatReconciler {
    file: PathBuf,
}

/// The order is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the order for bramblegate-clat cannot be written or removed")]
pub struct ClatError {
    path: String,
    source: io::Error,
}

impl OutputError for ClatError {
    fn kind(&self) -> ApplyErrorKind {
        ApplyErrorKind::Failed
    }
}

into_apply_error!(ClatError);

impl ClatReconciler {
    /// Returns the reconciler of the order in this folder.
    pub fn new(run_directory: &Path) -> Self {
        Self { file: run_directory.join(ORDER_FILE) }
    }

    /// Brings the file to `order`.
    ///
    /// # Errors
    /// It cannot be written, or not be removed.
    pub fn put(&self, order: Option<&Order>) -> Result<(), ClatError> {
        let done = match order {
            Some(order) => self.write(order),
            None => folder::remove(&self.file),
        };
        done.map_err(|source| ClatError { path: self.file.display().to_string(), source })
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
    fn the_order_is_there_while_it_is_wanted() {
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
