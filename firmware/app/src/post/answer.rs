//! What a server answers: its status, what time it is there, and what became of the samples.
//!
//! RFC 9112 as far as it is needed: an answer has `Content-Length`, or it is the last of its
//! connection. All that is not understood is passed over; what is no answer at all is none.

use embedded_io_async::Read;

/// What ends a head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";
/// How a report of a gateway begins, and how one ends that took all samples, or had them already.
const REPORT: &[u8] = b"{\"accepted\":";
const NONE_REJECTED: &[u8] = b"\"rejected\":[]}";
/// What a gateway calls its errors (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of three digits.
    pub status: u16,
    /// Milliseconds since 1970, if it says so.
    pub date_ms: Option<i64>,
    /// Nothing comes behind it.
    pub is_last: bool,
    /// Whether a gateway says it, and not whatever else answers where one was: a portal, a proxy.
    pub is_gateways: bool,
    /// Whether none of the samples was rejected.
    pub took_all: bool,
}

/// Reads one into `room`; nothing when the stream ends before, or what comes is none.
pub async fn read<I: Read>(io: &mut I, room: &mut [u8]) -> Option<Answer> {
    let mut filled = 0;
    let head = loop {
        if let Some(at) = find(&room[..filled], BLANK_LINE) {
            break at + BLANK_LINE.len();
        }
        filled += more(io, &mut room[filled..]).await?;
    };
    let text = core::str::from_utf8(&room[..head]).ok()?;
    let mut answer = judge(text)?;
    let Some(length) = field(text, "content-length") else {
        return Some(Answer { is_last: true, ..answer });
    };
    let mut left = length.parse::<usize>().ok()?.checked_sub(filled - head)?;
    // Of a long body the front is enough to see that it is not the short one of a good report.
    let mut is_whole = true;
    while left > 0 {
        if filled == room.len() {
            answer.is_gateways |= is_whole && room[head..].starts_with(REPORT);
            (filled, is_whole) = (head, false);
            if head == room.len() {
                return Some(Answer { is_last: true, ..answer });
            }
        }
        let end = room.len().min(filled + left);
        let come = more(io, &mut room[filled..end]).await?;
        (filled, left) = (filled + come, left - come);
    }
    let body = &room[head..filled];
    let is_report = is_whole && body.starts_with(REPORT);
    answer.is_gateways |= is_report;
    answer.took_all = is_report && body.ends_with(NONE_REJECTED);
    Some(answer)
}

/// Bytes that came; nothing at the end of the stream, or where there is no room.
async fn more<I: Read>(io: &mut I, room: &mut [u8]) -> Option<usize> {
    io.read(room).await.ok().filter(|come| *come > 0)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|some| some == what)
}

/// What a head says.
fn judge(head: &str) -> Option<Answer> {
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let is_last = field(head, "connection").is_some_and(|how| how.eq_ignore_ascii_case("close"));
    let date_ms = field(head, "date").and_then(date);
    let is_gateways = field(head, "content-type") == Some(PROBLEM);
    Some(Answer { status, date_ms, is_last, is_gateways, took_all: false })
}

/// The value of a field, whose name is given in small letters.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (is, value) = line.split_once(':')?;
        is.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A date in the one form that is written today, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7),
/// in milliseconds since 1970.
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |range: core::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (day, year) = (number(5..7)?, number(12..16)?);
    let month = MONTHS.iter().position(|month| Some(*month) == text.get(8..11))? as i64 + 1;
    let (hour, minute, second) = (number(17..19)?, number(20..22)?, number(23..25)?);
    if text.get(25..) != Some(" GMT") {
        return None;
    }
    // Days from a civil date (Hinnant, chrono-compatible low-level date algorithms, 2013): the
    // year begins in March, so that the day that a leap year has more is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::wire::Wire;
    use embassy_futures::block_on;

    fn answer(says: &[u8], room: usize) -> Option<Answer> {
        let wire = Wire::new(&[]);
        says.chunks(7).for_each(|piece| wire.say(&[piece]));
        wire.end();
        block_on(read(&mut wire.clone(), &mut std::vec![0; room]))
    }

    #[test]
    fn an_answer_is_read_to_its_end_however_it_comes() {
        let good = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 43\r\n\
            date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n\
            {\"accepted\":2,\"duplicates\":0,\"rejected\":[]}";
        let date_ms = Some(784_111_777_000);
        let is_gateways = true;
        let all = Answer { status: 200, date_ms, is_last: false, is_gateways, took_all: true };
        assert_eq!(answer(good, 1024), Some(all));
        // The body is longer than what is kept of it.
        let some = Answer { took_all: false, ..all };
        assert_eq!(answer(good, good.len() - 1), Some(some));
        assert_eq!(answer(&good[..good.len() - 1], 1024), None, "it is cut off");
    }

    #[test]
    fn what_has_no_length_is_the_last_and_what_is_no_answer_is_none() {
        let (date_ms, is_gateways) = (None, false);
        let last = Answer { status: 503, date_ms, is_last: true, is_gateways, took_all: false };
        assert_eq!(answer(b"HTTP/1.1 503 Busy\r\n\r\nbusy", 64), Some(last));
        let closed = b"HTTP/1.1 503 Busy\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer(closed, 128), Some(last));
        for none in [
            &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
            b"HTTP/1.1 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 \xff\r\n\r\n",
            b"\r\n\r\n",
            b"",
        ] {
            assert_eq!(answer(none, 64), None, "{none:?}");
        }
        assert_eq!(answer(&[b'x'; 200], 64), None, "a head without an end");
    }

    #[test]
    fn a_date_is_the_one_that_it_says() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Mon, 30 Nov 2026 19:46:17 GMT", 1_796_067_977),
            ("Thu, 31 Dec 2099 23:59:59 GMT", 4_102_444_799),
        ] {
            assert_eq!(date(text), Some(seconds * 1_000), "{text}");
        }
        for wrong in ["", "Thu, 01 Jan 1970 00:00:00", "Thu, 01 Foo 1970 00:00:00 GMT", "ääääää"]
        {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }
}
