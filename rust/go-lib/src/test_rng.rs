//! Random numbers for tests, from a seed that a failure prints.

/// xorshift64*.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// Seeded by `GOLIB_TEST_SEED`, else by the clock.
    pub fn new(test: &str) -> Rng {
        let seed = match std::env::var("GOLIB_TEST_SEED") {
            Ok(s) => s.parse().expect("GOLIB_TEST_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("after 1970")
                .as_nanos() as u64,
        };
        eprintln!("{test}: GOLIB_TEST_SEED={seed}");
        Rng(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
