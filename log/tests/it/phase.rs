//! The marker that tells a crash test what was going on.

use weir_log::phase::{Lane, Phase, enter, install};

#[test]
fn a_phase_is_one_byte_in_its_lane() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("phase");
    enter(Lane::Aggregator, Phase::Cut);
    install(&path).unwrap();
    for phase in [Phase::Flush, Phase::Commit, Phase::Cut, Phase::Idle] {
        enter(Lane::Aggregator, phase);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3);
        // The first lane belongs to the log threads of the tests that run beside this one.
        assert_eq!(Phase::from_number(bytes[1]), Some(phase));
        assert_eq!(Phase::from_number(bytes[2]), Some(Phase::Idle));
    }
    for phase in [Phase::Merge, Phase::Refold, Phase::Swap, Phase::Forget, Phase::Remove, Phase::Idle] {
        enter(Lane::Maintenance, phase);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(Phase::from_number(bytes[1]), Some(Phase::Idle));
        assert_eq!(Phase::from_number(bytes[2]), Some(phase));
    }
    assert_eq!(Phase::from_number(11), None);
}
