//! The units of one SKU, and the only ways in which they move.

/// Units of a SKU received at most, so that no sum can overflow. A million adjustments of the greatest size.
pub const MAX_RECEIVED: i64 = 1_000_000_000_000_000;

/// The units of one SKU; available + held + sold = received, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Units that ever came in, less what adjustments took out.
    pub received: i64,
    /// Units that can be held for the next order.
    pub available: i64,
    /// Units held for undecided orders.
    pub held: i64,
    /// Units of confirmed orders.
    pub sold: i64,
}

impl Stock {
    /// Holds units for an order. `None` where fewer are available.
    pub fn hold(self, units: i64) -> Option<Stock> {
        Stock { available: self.available.checked_sub(units)?, held: self.held.checked_add(units)?, ..self }.if_sound()
    }

    /// Held units are sold. `None` where fewer are held.
    pub fn sell(self, units: i64) -> Option<Stock> {
        Stock { held: self.held.checked_sub(units)?, sold: self.sold.checked_add(units)?, ..self }.if_sound()
    }

    /// Held units are available again. `None` where fewer are held.
    pub fn release(self, units: i64) -> Option<Stock> {
        Stock { held: self.held.checked_sub(units)?, available: self.available.checked_add(units)?, ..self }.if_sound()
    }

    /// Units come in, or go out where `delta` is negative. `None` where more would go out than are available, or more
    /// come in than are counted.
    pub fn adjust(self, delta: i64) -> Option<Stock> {
        let received = self.received.checked_add(delta)?;
        let adjusted = Stock { received, available: self.available.checked_add(delta)?, ..self };
        adjusted.if_sound().filter(|stock| stock.received <= MAX_RECEIVED)
    }

    fn if_sound(self) -> Option<Stock> {
        (self.available >= 0 && self.held >= 0 && self.sold >= 0).then_some(self)
    }

    /// Nothing was made up and nothing was lost.
    pub fn adds_up(&self) -> bool {
        self.if_sound().is_some()
            && self.available.checked_add(self.held).and_then(|sum| sum.checked_add(self.sold)) == Some(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_move_of_any_size_makes_up_or_loses_a_unit(
            available in 0..=MAX_RECEIVED / 3, held in 0..=MAX_RECEIVED / 3, sold in 0..=MAX_RECEIVED / 3, units: i64,
        ) {
            let stock = Stock { received: available + held + sold, available, held, sold };
            for moved in [stock.hold(units), stock.sell(units), stock.release(units)].into_iter().flatten() {
                prop_assert!(moved.adds_up(), "{moved:?}");
                prop_assert_eq!(moved.received, stock.received);
            }
            if let Some(adjusted) = stock.adjust(units) {
                prop_assert!(adjusted.adds_up(), "{adjusted:?}");
                prop_assert_eq!(adjusted.received - stock.received, units);
            }
            prop_assert_eq!(stock.hold(available).map(|s| s.held), Some(held + available));
            prop_assert_eq!(stock.hold(available + 1), None);
            prop_assert_eq!(stock.adjust(-available - 1), None);
        }
    }

    #[test]
    fn more_than_is_counted_does_not_come_in() {
        let full = Stock { received: MAX_RECEIVED, available: MAX_RECEIVED, ..Stock::default() };
        assert_eq!(Stock::default().adjust(MAX_RECEIVED), Some(full));
        assert_eq!(full.adjust(1), None);
        assert_eq!(full.adjust(i64::MAX), None);
        assert_eq!(Stock::default().adjust(i64::MIN), None);
    }
}
