//! Files and directories that the pod sees.
//!
//! Directories are walked here rather than by `object_store`, which follows symbolic links and passes over some names: a link could
//! lead out of the directory, and a file passed over would be missing from the digest without a word. A link is therefore an
//! error, like everything that is neither file nor directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use tokio::io::AsyncReadExt;

use super::{Listed, StorageError, limit_files};
use crate::api::artifact::ArtifactUri;

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn local_path(uri: &ArtifactUri) -> PathBuf {
    Path::new("/").join(uri.path())
}

pub(super) async fn read_local(
    path: &Path,
    what: String,
) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
    let file = tokio::fs::File::open(path).await.map_err(|error| StorageError::of_io(&error, &what))?;
    Ok(Box::pin(stream::try_unfold((file, what), |(mut file, what)| async move {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut piece).await;
        match read.map_err(|error| StorageError::of_io(&error, &what))? {
            0 => Ok(None),
            _ => Ok(Some((Bytes::from(piece), (file, what)))),
        }
    })))
}

/// The files below a local directory, by relative path.
///
/// # Errors
/// Something is neither file nor directory (symbolic links are not followed), or cannot be read.
pub fn list_directory(root: &Path) -> Result<BTreeMap<String, Listed>, StorageError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(dir) = waiting.pop() {
        let here = root.join(&dir);
        let what = format!("file://{}", here.display());
        let entries = std::fs::read_dir(&here).map_err(|error| StorageError::of_io(&error, &what))?;
        for entry in entries {
            let entry = entry.map_err(|error| StorageError::of_io(&error, &what))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(StorageError::Unusable(format!("{what} holds a name that is not UTF-8; rename it")));
            };
            let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            // Unlike `Path::metadata`, this does not follow links.
            let meta = entry.metadata().map_err(|error| StorageError::of_io(&error, &what))?;
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_file() {
                files.insert(path, Listed::local(&meta));
            } else {
                return Err(StorageError::Unusable(format!(
                    "{what}/{name} is a symbolic link or special file, which is not followed; put the file itself there"
                )));
            }
            limit_files(files.len() + waiting.len(), &what)?;
        }
    }
    Ok(files)
}
