//! `sum` that fails where a 64-bit integer overflows, instead of going on with a wrong number.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use std::sync::Arc;

/// `DataFusion`'s `sum` but for whole numbers outside windows and without `distinct`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    plain: Sum,
}

impl CheckedSum {
    pub(super) fn new() -> Self {
        Self { plain: Sum::new() }
    }
}

fn checked(args: &AccumulatorArgs) -> bool {
    !args.is_distinct && *args.return_type() == DataType::Int64
}

fn overflow<T>() -> Result<T> {
    Err(DataFusionError::Execution(
        "a sum leaves the range of 64-bit whole numbers: cast its argument to decimal(38, 0)"
            .into(),
    ))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.plain.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if checked(&args) { Ok(Box::new(One(None))) } else { self.plain.accumulator(args) }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if checked(&args) {
            Ok(Box::new(Many::default()))
        } else {
            self.plain.create_groups_accumulator(args)
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.plain.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sum so far; null until there is a value.
#[derive(Debug)]
struct One(Option<i64>);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Int64Type>().iter().flatten() {
            match self.0.unwrap_or(0).checked_add(value) {
                Some(sum) => self.0 = Some(sum),
                None => return overflow(),
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(self.0)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of all groups; null until there is a value.
#[derive(Default)]
struct Many {
    sums: Vec<i64>,
    heard: Vec<bool>,
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.sums.resize(groups, 0);
        self.heard.resize(groups, false);
        let values = values[0].as_primitive::<Int64Type>();
        let keep = |row| filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
        let every = values.null_count() == 0 && filter.is_none();
        let mut overflows = false;
        for (row, &group) in group_indices.iter().enumerate() {
            if every || (values.is_valid(row) && keep(row)) {
                let (sum, over) = self.sums[group].overflowing_add(values.value(row));
                overflows |= over;
                self.sums[group] = sum;
                self.heard[group] = true;
            }
        }
        if overflows { overflow() } else { Ok(()) }
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.update_batch(states, group_indices, None, groups)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit)?])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = emit.take_needed(&mut self.sums);
        let heard = emit.take_needed(&mut self.heard);
        Ok(Arc::new(Int64Array::new(sums.into(), Some(heard.into()))))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        match filter {
            None => Ok(vec![Arc::clone(&values[0])]),
            Some(keep) => {
                let left_out: BooleanArray =
                    keep.iter().map(|keep| Some(keep != Some(true))).collect();
                Ok(vec![arrow::compute::nullif(&values[0], &left_out)?])
            }
        }
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i64>() + self.heard.capacity()
    }
}
