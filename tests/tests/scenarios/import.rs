//! Files of readings, imported and exported.

use holdfast_tests::scenarios::{Scale, import};

#[test]
fn a_file_is_imported_once_whatever_interrupts_and_exports_can_be_imported() {
    import::imports(Scale::test(0x1319));
}
