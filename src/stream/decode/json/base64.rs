//! Bytes, which JSON carries as text.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Standard alphabet, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends what `text` means in base64 to `bytes`; false if it is none.
pub fn read(text: &str, bytes: &mut Vec<u8>) -> bool {
    BASE64.decode_vec(text, bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_padded_or_not() {
        for text in ["aGk=", "aGk"] {
            let mut bytes = Vec::new();
            assert!(read(text, &mut bytes));
            assert_eq!(bytes, b"hi");
        }
        assert!(!read("a-_", &mut Vec::new()));
    }
}
