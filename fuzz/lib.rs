//! The targets of `directmessages::fuzz`, each as a program of cargo-fuzz.

/// A program that runs one target, by its name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| { $crate::run($name, data) });
    };
}

/// Runs one input.
pub fn run(name: &str, data: &[u8]) {
    use directmessages::fuzz::{Fuzz, TARGETS};
    static FUZZ: std::sync::LazyLock<Fuzz> = std::sync::LazyLock::new(Fuzz::new);
    let (_, target) = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .unwrap_or_else(|| panic!("directmessages::fuzz has no target {name}"));
    target(&FUZZ, data);
}
