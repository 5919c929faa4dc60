//! Failed logins and what they lead to, at times that the test chooses.

use std::net::Ipv4Addr;

use super::*;

const NOW: Time = Time::from_micros(1_700_000_000_000_000);

fn guard() -> Guard {
    Guard::new(LoginLimits {
        free_failures: 2,
        delay: Span::from_secs(1),
        max_delay: Span::from_secs(5),
        max_failures: 8,
        forget_after: Span::from_secs(10),
    })
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// The delays, in milliseconds, of so many wrong passwords at one time.
fn wrong(guard: &Guard, caller: Caller, times: usize, now: Time) -> Vec<u128> {
    let one = |_| {
        guard
            .refused(caller, Refusal::WrongPassword, now)
            .as_millis()
    };
    (0..times).map(one).collect()
}

#[test]
fn answers_take_twice_as_long_each_time_up_to_a_bound_and_then_nothing_is_hashed() {
    let guard = guard();
    let caller = guard.caller(address(1), Some("alice@a"));
    assert_eq!(
        wrong(&guard, caller, 7, NOW),
        [0, 0, 1_000, 2_000, 4_000, 5_000, 5_000]
    );
    assert!(guard.may_hash(caller, NOW));
    wrong(&guard, caller, 1, NOW);
    assert!(!guard.may_hash(caller, NOW));
    assert_eq!(
        guard
            .refused(caller, Refusal::TooManyFailures, NOW)
            .as_millis(),
        5_000
    );
}

#[test]
fn an_address_that_guesses_many_names_and_a_name_guessed_from_many_addresses_are_both_slowed() {
    let guard = guard();
    for number in 0..8_u8 {
        let caller = guard.caller(address(1), Some(&format!("user{number}")));
        wrong(&guard, caller, 1, NOW);
    }
    assert!(!guard.may_hash(guard.caller(address(1), Some("another")), NOW));
    assert!(guard.may_hash(guard.caller(address(2), Some("another")), NOW));
    for number in 0..8 {
        let caller = guard.caller(address(100 + number), Some("alice@a"));
        wrong(&guard, caller, 1, NOW);
    }
    assert!(!guard.may_hash(guard.caller(address(3), Some("alice@a")), NOW));
    assert!(guard.may_hash(guard.caller(address(3), Some("bob@a")), NOW));
}

#[test]
fn failures_are_forgotten_one_by_one() {
    let guard = guard();
    let caller = guard.caller(address(1), None);
    wrong(&guard, caller, 20, NOW);
    assert!(!guard.may_hash(caller, NOW + Span::from_millis(9_999)));
    assert!(guard.may_hash(caller, NOW + Span::from_secs(10)));
    let later = NOW + Span::from_secs(60); // two are left
    assert_eq!(wrong(&guard, caller, 2, later), [1_000, 2_000]);
    let much_later = NOW + Span::from_secs(3_600);
    assert_eq!(wrong(&guard, caller, 3, much_later), [0, 0, 1_000]);
}

#[test]
fn a_good_login_clears_its_name_and_not_its_address() {
    let guard = guard();
    let alice = guard.caller(address(1), Some("alice@a"));
    wrong(&guard, alice, 8, NOW);
    guard.let_in(alice);
    assert!(guard.may_hash(guard.caller(address(2), Some("alice@a")), NOW));
    assert!(!guard.may_hash(guard.caller(address(1), Some("bob@a")), NOW));
}

#[test]
fn what_is_no_guess_does_not_count() {
    let guard = guard();
    let caller = guard.caller(address(1), Some("alice@a"));
    for refusal in [
        Refusal::TeamSuspended,
        Refusal::ClientId,
        Refusal::Anonymous,
        Refusal::Method,
    ] {
        for _ in 0..20 {
            assert_eq!(guard.refused(caller, refusal, NOW), Duration::ZERO);
        }
    }
    assert!(guard.may_hash(caller, NOW));
}

#[test]
fn however_many_guess_the_tables_stay_as_large_as_they_are() {
    let guard = guard();
    for number in 0..400_000_u32 {
        let caller = guard.caller(IpAddr::from(number.to_be_bytes()), None);
        wrong(&guard, caller, 1, NOW);
    }
    let failures = guard.failures.lock();
    assert!(failures.younger.len() <= GENERATION && failures.older.len() <= GENERATION);
}
