//! A file in the making: it stands under another name beside its place, and goes away again unless it is put there whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside the file of a database in use.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

pub struct Part {
    path: PathBuf,
    place: PathBuf,
    /// It was made for the file, and goes with it.
    folder: Option<PathBuf>,
}

impl Part {
    /// Begins a file that is to stand at `place`, where nothing may be yet. Nobody else on this machine can read it.
    pub fn beside(place: &Path) -> io::Result<Part> {
        let place = std::path::absolute(place)?;
        if fs::symlink_metadata(&place).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut name = place.file_name().ok_or(ErrorKind::InvalidInput)?.to_os_string();
        // What a process left that was killed here keeps nobody from trying again.
        let random = getrandom::u64().map_err(|e| io::Error::other(e.to_string()))?;
        name.push(format!(".{random:016x}.part"));
        let path = folder_of(&place).join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Part { path, place, folder: None })
    }

    /// The same in a folder that is made where there is none.
    pub fn in_folder(place: &Path) -> io::Result<Part> {
        let folder = folder_of(place);
        let made = (!folder.exists()).then(|| folder.to_path_buf());
        fs::create_dir_all(folder)?;
        match Part::beside(place) {
            Ok(mut part) => {
                part.folder = made;
                Ok(part)
            }
            Err(error) => {
                remove_empty(made.as_deref());
                Err(error)
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn bytes(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    /// Puts the file into its place, durably, unless something has come to stand there meanwhile.
    pub fn put(mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        // A second name for the file is never put over another file, as a rename would be.
        match fs::hard_link(&self.path, &self.place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            Err(_) if fs::symlink_metadata(&self.place).is_ok() => return Err(ErrorKind::AlreadyExists.into()),
            // Some file systems know no second names.
            Err(_) => fs::rename(&self.path, &self.place)?,
        }
        let _ = fs::remove_file(&self.path);
        sync_folder(folder_of(&self.place)).inspect_err(|_| {
            let _ = fs::remove_file(&self.place);
        })?;
        self.folder = None;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        for ending in BESIDE {
            let _ = fs::remove_file(with_ending(&self.path, ending));
        }
        remove_empty(self.folder.as_deref());
    }
}

/// A folder with anything in it stays.
fn remove_empty(folder: Option<&Path>) {
    if let Some(folder) = folder {
        let _ = fs::remove_dir(folder);
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems of other machines have no word for it.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}
