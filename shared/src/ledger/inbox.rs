//! Which batches a ledger has heard: for each (source, incarnation, partition) a low-water mark and the set above it.

use std::collections::{BTreeSet, HashMap, HashSet};

use spillway_proto::batch::BatchNumber;
use spillway_proto::{Incarnation, Ledger, Partition};

use super::error::StoreError;
use super::tx::{Tx, Value};

/// Whose batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    pub source: Ledger,
    pub incarnation: Incarnation,
    pub partition: Partition,
}

impl Line {
    pub fn of(source: Ledger, number: &BatchNumber) -> Self {
        Line { source, incarnation: number.incarnation, partition: number.partition }
    }
}

/// How far a line is heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything up to this number is heard.
    pub number: i64,
    /// Heard, but something below is missing.
    pub above: BTreeSet<i64>,
    /// Unix time in microseconds at which the source committed what was heard last.
    pub time_us: i64,
}

impl Mark {
    pub fn has(&self, number: i64) -> bool {
        number <= self.number || self.above.contains(&number)
    }

    fn add(&mut self, number: i64, time_us: i64) {
        self.above.insert(number);
        while self.above.remove(&(self.number + 1)) {
            self.number += 1;
        }
        self.time_us = self.time_us.max(time_us);
    }

    /// The first and the last number of every gap below `head`.
    pub fn missing(&self, head: i64) -> Vec<(i64, i64)> {
        let mut gaps = Vec::new();
        let mut next = self.number + 1;
        for &number in self.above.iter().take_while(|number| **number <= head) {
            if number > next {
                gaps.push((next, number - 1));
            }
            next = number + 1;
        }
        if next <= head {
            gaps.push((next, head));
        }
        gaps
    }
}

/// All lines of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    lines: HashMap<Line, Mark>,
}

/// What a commit adds to the inbox.
#[derive(Debug, Default)]
pub(super) struct Additions {
    lines: HashMap<Line, Mark>,
    taken: HashSet<(Line, i64)>,
    /// Batches that were heard before.
    pub repeated: u64,
}

impl Inbox {
    pub fn mark(&self, line: &Line) -> Option<&Mark> {
        self.lines.get(line)
    }

    pub fn lines(&self) -> impl Iterator<Item = (&Line, &Mark)> {
        self.lines.iter()
    }

    pub(super) fn load(tx: &Tx<'_>) -> Result<Self, StoreError> {
        let mut inbox = Inbox::default();
        let marks = "select source, incarnation, partition, number, time_us from inbox_mark";
        for (line, number, time_us) in tx.read(marks, &[], |row| Ok((read_line(row)?, row.int(3)?, row.int(4)?)))? {
            inbox.lines.insert(line, Mark { number, above: BTreeSet::new(), time_us });
        }
        let above = "select source, incarnation, partition, number from inbox_above";
        for (line, number) in tx.read(above, &[], |row| Ok((read_line(row)?, row.int(3)?)))? {
            inbox.lines.entry(line).or_default().above.insert(number);
        }
        Ok(inbox)
    }

    /// Takes a batch into a commit. False where it was heard before, or is in this commit already.
    pub(super) fn take(&self, additions: &mut Additions, line: Line, number: i64, time_us: i64) -> bool {
        let known = self.lines.get(&line);
        if known.is_some_and(|mark| mark.has(number)) || !additions.taken.insert((line, number)) {
            additions.repeated += 1;
            return false;
        }
        let mark = additions.lines.entry(line).or_insert_with(|| known.cloned().unwrap_or_default());
        mark.add(number, time_us);
        true
    }

    /// Whether a number is heard, or is in this commit.
    pub(super) fn has(&self, additions: &Additions, line: Line, number: i64) -> bool {
        additions.taken.contains(&(line, number)) || self.lines.get(&line).is_some_and(|mark| mark.has(number))
    }

    /// Writes what a commit adds.
    pub(super) fn write(&self, tx: &Tx<'_>, additions: &Additions) -> Result<(), StoreError> {
        for (line, mark) in &additions.lines {
            let source = line.source.name();
            let key = [Value::Text(source), line.incarnation.as_bytes().into(), i64::from(line.partition.0).into()];
            tx.write(
                "insert into inbox_mark (source, incarnation, partition, number, time_us)
                 values ($1, $2, $3, $4, $5)
                 on conflict (source, incarnation, partition)
                 do update set number = excluded.number, time_us = excluded.time_us",
                &[key[0], key[1], key[2], mark.number.into(), mark.time_us.into()],
            )?;
            let before = self.lines.get(line);
            if before.is_some_and(|before| !before.above.is_empty()) {
                tx.write(
                    "delete from inbox_above
                     where source = $1 and incarnation = $2 and partition = $3 and number <= $4",
                    &[key[0], key[1], key[2], mark.number.into()],
                )?;
            }
            let new = mark.above.iter().filter(|n| before.is_none_or(|before| !before.above.contains(n)));
            tx.write_each(
                "insert into inbox_above (source, incarnation, partition, number) values ($1, $2, $3, $4)",
                new.map(|number| [key[0], key[1], key[2], Value::Int(*number)]),
            )?;
        }
        Ok(())
    }

    /// After the commit.
    pub(super) fn apply(&mut self, additions: Additions) {
        self.lines.extend(additions.lines);
    }
}

/// Source, incarnation and partition, from the first three columns.
pub(super) fn read_line(row: &super::tx::Row<'_>) -> Result<Line, StoreError> {
    Ok(Line {
        source: row.text(0)?.parse().map_err(|_| row.nonsense("source"))?,
        incarnation: Incarnation::from_bytes(&row.blob(1)?).ok_or_else(|| row.nonsense("incarnation"))?,
        partition: u16::try_from(row.int(2)?).map(Partition).map_err(|_| row.nonsense("partition"))?,
    })
}

impl Additions {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_of_any_repeats_ends_at_the_same_mark(numbers in prop::collection::vec(1i64..40, 0..120)) {
            let mut mark = Mark::default();
            for number in &numbers {
                if !mark.has(*number) {
                    mark.add(*number, 0);
                }
            }
            let heard: BTreeSet<i64> = numbers.iter().copied().collect();
            for number in 1..=40 {
                prop_assert_eq!(mark.has(number), heard.contains(&number));
            }
            let missing: Vec<i64> = mark.missing(40).into_iter().flat_map(|(a, b)| a..=b).collect();
            let expected: Vec<i64> = (1..=40).filter(|n| !heard.contains(n)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
