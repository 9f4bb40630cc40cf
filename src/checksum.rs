//! SHA-256 as it is written down everywhere: 64 hexadecimal digits.

use sha2::{Digest, Sha256};

/// The checksum of bytes that come piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Checksum(Sha256);

impl Checksum {
    /// Of bytes that are all there.
    pub fn of(bytes: impl AsRef<[u8]>) -> String {
        let mut checksum = Self::default();
        checksum.add(bytes.as_ref());
        checksum.finish()
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_checksum_of_the_whole() {
        let mut checksum = Checksum::default();
        for piece in ["", "a", "bc"] {
            checksum.add(piece.as_bytes());
        }
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(checksum.finish(), known);
        assert_eq!(Checksum::of("abc"), known);
    }
}
