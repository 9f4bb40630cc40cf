//! `percentile_cont`, exact.
//!
//! `DataFusion`'s own cuts the interpolation weight to six digits (the 95th percentile of 38 values
//! 0 to 37 comes out as 35.149999), so that its answers differ from every other engine's. This one
//! keeps the weight whole, and puts the values of all groups into two flat vectors, because a
//! vector for each group spends more time in the allocator than in the selection.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, EmitTo, GroupsAccumulator, Signature,
    TypeSignatureClass, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use std::sync::Arc;

/// `percentile_cont(p) within group (order by x)`: interpolated between the two nearest values,
/// nulls left out, null where there is no value. A double, whatever number `x` is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PercentileCont {
    signature: Signature,
    aliases: Vec<String>,
}

impl PercentileCont {
    pub(super) fn new() -> Self {
        let number = || {
            Coercion::new_implicit(
                TypeSignatureClass::Native(logical_float64()),
                vec![TypeSignatureClass::Numeric],
                NativeType::Float64,
            )
        };
        Self {
            signature: Signature::coercible(vec![number(), number()], Volatility::Immutable),
            aliases: vec!["quantile_cont".into()],
        }
    }
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &'static str {
        "percentile_cont"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[values]", args.name), list_type(), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One { values: Vec::new(), share: share(&args)? }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many {
            groups: Vec::new(),
            values: Vec::new(),
            count: 0,
            share: share(&args)?,
        }))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

/// How far up the ascending order to look: the literal, turned round for `order by x desc`.
fn share(args: &AccumulatorArgs) -> Result<f64> {
    let plan = |text: &str| Err(DataFusionError::Plan(text.into()));
    if args.is_distinct {
        return plan("percentile_cont takes no `distinct`: select distinct values first");
    }
    let literal = args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>());
    let share = match literal.map(|literal| literal.value().cast_to(&DataType::Float64)) {
        Some(Ok(ScalarValue::Float64(Some(share)))) if (0.0..=1.0).contains(&share) => share,
        _ => return plan("percentile_cont needs a number between 0 and 1"),
    };
    let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
    Ok(if descending { 1.0 - share } else { share })
}

/// The value at `share` of the way from the lowest to the highest; reorders `values`.
fn percentile(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "2^53 values don't fit into memory")]
    let at = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= at <= last")]
    let below = at.floor() as usize;
    let weight = at - at.floor();
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    if weight == 0.0 {
        return Some(low);
    }
    let high = above.iter().copied().min_by(f64::total_cmp)?;
    Some(low * (1.0 - weight) + high * weight)
}

/// The accumulator without groups, and of window frames.
#[derive(Debug)]
struct One {
    values: Vec<f64>,
    share: f64,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<Float64Type>().iter().flatten());
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.values.extend(values.as_primitive::<Float64Type>().iter().flatten());
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Float64Array::from(std::mem::take(&mut self.values));
        Ok(vec![ScalarValue::List(Arc::new(lists(&[values.len()], values)?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(percentile(&mut self.values, self.share)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }
}

/// The accumulator of a `group by`: value `i` belongs to group `groups[i]`.
struct Many {
    groups: Vec<u32>,
    values: Vec<f64>,
    /// How many groups there are, those without a value too.
    count: usize,
    share: f64,
}

impl Many {
    fn push(&mut self, group: usize, value: f64) {
        // DataFusion numbers groups by u32-sized rows of memory that it holds itself.
        self.groups.push(u32::try_from(group).unwrap_or(u32::MAX));
        self.values.push(value);
    }

    /// Gives up the first groups: how many values each has, and the values in the groups' order.
    fn take(&mut self, emit: EmitTo) -> (Vec<usize>, Vec<f64>) {
        let taken = match emit {
            EmitTo::All => self.count,
            EmitTo::First(n) => n.min(self.count),
        };
        let mut sizes = vec![0; taken];
        for &group in &self.groups {
            if let Some(size) = sizes.get_mut(group as usize) {
                *size += 1;
            }
        }
        let mut next: Vec<usize> =
            sizes.iter().scan(0, |end, size| Some(std::mem::replace(end, *end + size))).collect();
        let mut sorted = vec![0.0; sizes.iter().sum()];
        let (groups, values) = (std::mem::take(&mut self.groups), std::mem::take(&mut self.values));
        for (group, value) in groups.into_iter().zip(values) {
            match next.get_mut(group as usize) {
                Some(place) => {
                    sorted[*place] = value;
                    *place += 1;
                }
                None => self.push(group as usize - taken, value),
            }
        }
        self.count -= taken;
        (sizes, sorted)
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.count = groups;
        let values = values[0].as_primitive::<Float64Type>();
        for (row, &group) in group_indices.iter().enumerate() {
            let counts = filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
            if counts && values.is_valid(row) {
                self.push(group, values.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.count = groups;
        let lists = states[0].as_list::<i32>();
        let values = lists.values().as_primitive::<Float64Type>().values();
        let offsets = lists.value_offsets();
        for (row, &group) in group_indices.iter().enumerate() {
            if lists.is_valid(row) {
                #[expect(clippy::cast_sign_loss, reason = "Arrow's offsets are never negative")]
                for &value in &values[offsets[row] as usize..offsets[row + 1] as usize] {
                    self.push(group, value);
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sizes, values) = self.take(emit);
        Ok(vec![Arc::new(lists(&sizes, Float64Array::from(values))?)])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sizes, mut values) = self.take(emit);
        let mut rest = values.as_mut_slice();
        let each = sizes.into_iter().map(|size| {
            let (group, after) = std::mem::take(&mut rest).split_at_mut(size);
            rest = after;
            percentile(group, self.share)
        });
        Ok(Arc::new(each.collect::<Float64Array>()))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<Float64Type>();
        let keep = |row| filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
        let sizes: Vec<usize> =
            (0..values.len()).map(|row| usize::from(values.is_valid(row) && keep(row))).collect();
        let kept = (0..values.len()).filter(|&row| sizes[row] == 1).map(|row| values.value(row));
        let kept = Float64Array::from_iter_values(kept);
        Ok(vec![Arc::new(lists(&sizes, kept)?)])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<u32>() + self.values.capacity() * size_of::<f64>()
    }
}

fn lists(sizes: &[usize], values: Float64Array) -> Result<ListArray> {
    let offsets = OffsetBuffer::<i32>::from_lengths(sizes.iter().copied());
    let field = Arc::new(Field::new_list_field(DataType::Float64, true));
    Ok(ListArray::try_new(field, offsets, Arc::new(values), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_between_two_values_is_whole() {
        let mut values: Vec<f64> = (0..38).rev().map(f64::from).collect();
        assert_eq!(
            percentile(&mut values, 0.95),
            Some(35.0 * (1.0 - 0.149_999_999_999_998_58) + 36.0 * 0.149_999_999_999_998_58)
        );
        assert_eq!(percentile(&mut [1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(percentile(&mut [3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }

    #[test]
    fn groups_given_up_early_leave_the_others_whole() {
        let mut many = Many {
            groups: vec![1, 0, 2, 1],
            values: vec![4.0, 1.0, 9.0, 2.0],
            count: 4,
            share: 0.5,
        };
        let first = many.evaluate(EmitTo::First(2)).unwrap();
        assert_eq!(first.as_primitive::<Float64Type>().values(), &[1.0, 3.0]);
        let rest = many.evaluate(EmitTo::All).unwrap();
        let rest: Vec<_> = rest.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(rest, [Some(9.0), None]);
    }
}
