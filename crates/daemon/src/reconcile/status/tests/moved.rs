//! Tests of moving the socket.

use super::*;

/// Returns the first line that a client gets at this path.
fn greeting(path: &Path) -> Option<String> {
    let stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).unwrap();
    Some(text)
}

async fn answers(path: PathBuf) -> bool {
    spawn_blocking(move || greeting(&path))
        .await
        .unwrap()
        .is_some_and(|text| text.contains("snapshot"))
}

#[tokio::test]
async fn the_new_socket_is_served_the_old_file_is_removed_and_clients_stay() {
    let folder = Folder::new();
    let mut handle = folder.serve();
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    let mut reader = spawn_blocking(move || {
        assert_eq!(reader.line().unwrap()["type"], "snapshot");
        reader
    })
    .await
    .unwrap();
    let new = folder.0.join("elsewhere/status.sock");
    handle.relocate(&new).unwrap();
    assert_eq!(handle.path(), new);
    assert!(answers(new.clone()).await);
    assert!(!folder.socket().exists(), "no process answers there, so nothing is there");
    assert_eq!(std::fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o666);
    handle.publish(repaired(1));
    spawn_blocking(move || assert_eq!(reader.line().unwrap()["type"], "change")).await.unwrap();
    handle.relocate(&folder.socket()).unwrap();
    assert!(answers(folder.socket()).await, "and back again");
    assert!(!new.exists());
}

#[tokio::test]
async fn a_failed_move_leaves_the_socket_in_place() {
    let folder = Folder::new();
    let mut handle = folder.serve();
    handle.publish(snapshot());
    let file = folder.0.join("diary.txt");
    std::fs::write(&file, "dear diary").unwrap();
    assert_eq!(handle.relocate(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear diary");
    assert_eq!(handle.path(), folder.socket());
    assert!(answers(folder.socket()).await);
}
