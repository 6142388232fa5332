//! Other people's programs, that drive the server: Node.js, Python, and what they are installed with.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What a shell says of a program that it does not find.
const NOT_FOUND: i32 = 127;

/// A file or folder of this repository.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Held while something is installed, so that two tests do not install one thing at one time.
pub(crate) fn installing() -> MutexGuard<'static, ()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    INSTALLING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that ends with this process, however that ends: it is killed when its standard input closes.
pub(crate) fn bound(program: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0; \"$@\" </dev/null & child=$!; \
                  (cat <&3; kill -9 $child) >/dev/null 2>&1 & watcher=$!; \
                  wait $child; code=$?; kill $watcher 2>/dev/null; exit $code";
    command.args(["-c", script, "sh", program]);
    command
}

/// Runs a command, and shows what it printed: as cargo does, only where it fails or `--nocapture` asks for it.
pub(crate) fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(finish);
    let output = output.unwrap_or_else(|error| panic!("{command:?} cannot run: {error}"));
    let advice = match output.status.code() {
        Some(NOT_FOUND) => " (a program is missing: ./test installs what the tests need)",
        _ => "",
    };
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{command:?} failed{advice}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for a child without closing its standard input, which would end it.
fn finish(mut child: Child) -> std::io::Result<Output> {
    let held = child.stdin.take();
    let output = child.wait_with_output();
    drop(held);
    output
}

/// The names of the suites in a folder, sorted: of its files `<prefix><name><suffix>`.
pub(crate) fn suites_in(name: &str, prefix: &str, suffix: &str) -> Vec<String> {
    let files = std::fs::read_dir(path(name)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut suites: Vec<String> = names
        .filter_map(|name| {
            let name = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            Some(name.to_owned())
        })
        .collect();
    suites.sort();
    suites
}

/// The library that gives a process another clock.
pub(crate) fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    let found = folders
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| Path::exists(library));
    found.expect("libfaketime is missing: ./test installs it")
}
