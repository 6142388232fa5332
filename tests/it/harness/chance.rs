//! Chance that can be repeated: the seed is printed, and given again by the variable `SEED`.

/// A xorshift generator: good enough to choose what happens next.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A new seed for each run, printed where the test fails.
    #[expect(
        clippy::disallowed_methods,
        reason = "the seed is a setting of the tests, not of the program"
    )]
    pub(crate) fn fresh() -> Self {
        let given = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
        println!("SEED={seed} repeats this run's choices");
        Self::seeded(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let end = u64::try_from(end).unwrap();
        usize::try_from((self.0 >> 11) % end).unwrap()
    }
}
