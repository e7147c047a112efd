//! Whether NVIDIA's management library can be here, and where, without loading it.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Names the library in other places than the usual ones.
const VARIABLE: &str = "RUST_HYGIENE_NVML_LIBRARY";
/// What the loader looks for in its own directories.
const NAME: &str = "libnvidia-ml.so.1";
/// A loaded driver leaves one of these.
const DRIVER: [&str; 2] = ["/proc/driver/nvidia", "/dev/nvidiactl"];
/// The driver of the Windows Subsystem for Linux, and its library.
const WSL: (&str, &str) = ("/dev/dxg", "/usr/lib/wsl/lib/libnvidia-ml.so.1");

/// The library to load: `configured`, or what the environment names, or the usual one where a driver is loaded.
/// `None` where there is no driver, or no such file.
pub(crate) fn nvml_library(configured: Option<&Path>) -> Option<PathBuf> {
    let named = configured
        .map(Path::to_owned)
        .or_else(|| env::var_os(VARIABLE).map(PathBuf::from));
    choose(named, |path| path.exists())
}

fn choose(named: Option<PathBuf>, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return exists(&path).then_some(path);
    }
    if exists(Path::new(WSL.0)) && exists(Path::new(WSL.1)) {
        return Some(PathBuf::from(WSL.1));
    }
    DRIVER
        .iter()
        .any(|path| exists(Path::new(path)))
        .then(|| PathBuf::from(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_sought_only_where_a_driver_is_or_a_file_is_named() {
        let cases: &[(Option<&str>, &[&str], Option<&str>)] = &[
            (None, &[], None),
            (None, &["/proc/driver/nvidia"], Some(NAME)),
            (None, &["/dev/nvidiactl"], Some(NAME)),
            (None, &[WSL.0], None),
            (None, &[WSL.0, WSL.1], Some(WSL.1)),
            (Some("/a/b.so"), &["/a/b.so"], Some("/a/b.so")),
            (Some("/a/b.so"), &["/proc/driver/nvidia"], None),
            (Some(""), &["/proc/driver/nvidia"], Some(NAME)),
        ];
        for (named, files, expected) in cases {
            assert_eq!(
                choose(named.map(PathBuf::from), |path| files
                    .iter()
                    .any(|file| path == Path::new(file))),
                expected.map(PathBuf::from),
                "{named:?} {files:?}"
            );
        }
    }
}
