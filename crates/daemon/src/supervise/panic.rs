//! Panics as values.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// The message of a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panic(String);

impl Panic {
    /// Extracts the message from the payload of [`std::panic::catch_unwind`] or a joined task.
    pub fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("no message").to_owned())
    }
}

/// Runs `work` and catches a panic. State that `work` shares must stay valid if it stops anywhere.
///
/// # Errors
/// It panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panic::of(payload.as_ref()))
}

/// Runs a future and catches a panic, as [`catch`].
///
/// # Errors
/// It panicked.
pub async fn catch_async<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| Panic::of(payload.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_message() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| panic!("stumbled")).unwrap_err().to_string(), "stumbled");
        let number = 7;
        let ended: Result<(), Panic> =
            catch_async(async { panic!("stumbled over {number}") }).await;
        assert_eq!(ended.unwrap_err().to_string(), "stumbled over 7");
        assert_eq!(catch(|| std::panic::panic_any(7)).unwrap_err().to_string(), "no message");
    }
}
