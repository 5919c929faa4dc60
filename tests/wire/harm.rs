//! Nothing that comes in from outside can do harm: no panic, no reading beyond the frame, and no
//! allocation that the frame does not account for.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use cofferdam::wire::client;
use cofferdam::wire::decode::{self, Framing};
use cofferdam::wire::{Packet, QoS, RetainHandling, SubscriptionOptions, Version};

use super::packets;
use super::random::V;

/// Tries everything that can be done with bytes from outside.
fn suffer(bytes: &[u8]) {
    if let Ok(Framing::Whole(frame)) = decode::frame(bytes, 1 << 20) {
        assert!(frame.length <= bytes.len() && frame.body.len() < frame.length);
        decode::answer_version(frame);
        for version in [
            None,
            Some(Version::V31),
            Some(Version::V311),
            Some(Version::V5),
        ] {
            let mut decoded = Err(decode::RULES[0]);
            let memory = allocation_counter::measure(|| decoded = decode::packet(frame, version));
            assert!(
                memory.bytes_max <= allowed(frame.length),
                "{} bytes for {}",
                memory.bytes_max,
                frame.length
            );
            match decoded {
                Ok(Packet::Publish(publish)) => {
                    publish.properties.passed_on();
                    publish.properties.user.iter().for_each(drop);
                }
                Ok(Packet::Connect(connect)) => connect.properties.user.iter().for_each(drop),
                Ok(_) => {}
                Err(error) => assert!(error.code.is_error()),
            }
        }
    }
    for version in V {
        let _ = client::read_all(bytes, version);
    }
}

/// Bytes that decoding may hold at a time. A filter takes three bytes of the frame at least and 24 in
/// the list, which grows by doubling; all else is less than a CONNECT.
const fn allowed(frame: usize) -> u64 {
    (17 * frame + 512) as u64
}

#[test]
fn a_list_of_the_shortest_filters_takes_its_multiple_of_memory_and_no_more() {
    for count in [1, 1000, 100_000] {
        let filters = vec![("", PLAIN); count];
        suffer(&client::subscribe(Version::V5, 1, &filters, &[]));
        let filters = vec![""; count];
        suffer(&client::unsubscribe(Version::V311, 1, &filters, &[]));
    }
}

const PLAIN: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::Send,
};

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        suffer(&bytes);
    }

    /// With a fixed header that fits, so that the body is looked at.
    #[test]
    fn random_bodies_do_no_harm(first in any::<u8>(), body in vec(any::<u8>(), 0..127)) {
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend(body);
        suffer(&bytes);
    }

    #[test]
    fn a_packet_with_some_bytes_changed_does_no_harm(
        case in select(packets::cases()),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = case.bytes;
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        suffer(&bytes);
    }

    #[test]
    fn a_packet_with_a_piece_put_in_or_taken_out_does_no_harm(
        case in select(packets::cases()),
        other in select(packets::cases()),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let mut bytes = case.bytes;
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        bytes.splice(from.min(to)..from.max(to), other.bytes);
        // Make the length fit again where one byte can say it.
        if let Ok(length) = u8::try_from(bytes.len() - 2.min(bytes.len())) && length < 0x80 && bytes.len() > 1 {
            bytes[1] = length;
        }
        suffer(&bytes);
    }
}
