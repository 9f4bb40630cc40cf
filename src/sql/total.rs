//! Totals in a type that is twice as wide as what is added, and how they come into their own.

use super::problem::SqlProblem;
use ahash::HashMap;
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray};
use arrow::array::{BooleanArray, ListArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, UInt64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

/// Brings a total into the type of the result.
pub(super) struct Total {
    pub written: String,
    pub returns: DataType,
}

impl Total {
    fn error<T>(&self) -> Result<T> {
        Err(DataFusionError::External(Box::new(SqlProblem::overflow(&self.written, &self.returns))))
    }

    fn checked<N: Wide>(&self, total: Result<N, arrow::error::ArrowError>) -> Result<N> {
        total.or_else(|_| self.error())
    }

    /// The total as the digits of the result.
    fn digits<N: Wide>(&self, total: N) -> Result<i128> {
        let fits = total.narrow().filter(|total| match self.returns {
            DataType::Int64 => i64::try_from(*total).is_ok(),
            DataType::UInt64 => u64::try_from(*total).is_ok(),
            DataType::Decimal128(precision, _) => {
                total.unsigned_abs() < 10_u128.pow(u32::from(precision))
            }
            _ => false,
        });
        fits.map_or_else(|| self.error(), Ok)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`digits` has made sure that each of them fits"
    )]
    fn array<N: Wide>(&self, totals: &[N], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let digits = totals.iter().enumerate();
        let digits =
            digits.map(|(row, total)| if is_null(row) { Ok(0) } else { self.digits(*total) });
        let digits = digits.collect::<Result<Vec<i128>>>()?;
        Ok(match &self.returns {
            DataType::Int64 => {
                let values: Vec<i64> = digits.into_iter().map(|value| value as i64).collect();
                Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls))
            }
            DataType::UInt64 => {
                let values: Vec<u64> = digits.into_iter().map(|value| value as u64).collect();
                Arc::new(PrimitiveArray::<UInt64Type>::new(values.into(), nulls))
            }
            returns => {
                let values = PrimitiveArray::<Decimal128Type>::new(digits.into(), nulls);
                Arc::new(values.with_data_type(returns.clone()))
            }
        })
    }

    fn scalar<N: Wide>(&self, total: Option<N>) -> Result<ScalarValue> {
        let nulls = NullBuffer::from(vec![total.is_some()]);
        let value = self.array(&[total.unwrap_or_default()], Some(nulls))?;
        ScalarValue::try_from_array(&value, 0)
    }
}

/// What sums are kept in.
pub(super) trait Wide: ArrowNativeTypeOp + Hash + Eq + Default {
    fn narrow(self) -> Option<i128>;
}

impl Wide for i128 {
    fn narrow(self) -> Option<i128> {
        Some(self)
    }
}

impl Wide for i256 {
    fn narrow(self) -> Option<i128> {
        self.to_i128()
    }
}

/// The sum so far; null until there is a value. Of a sliding frame, too.
pub(super) struct One<V, S: ArrowPrimitiveType> {
    sum: S::Native,
    /// Values in the frame.
    count: u64,
    total: Total,
    state: DataType,
    values: PhantomData<fn(V)>,
}

impl<V, S: ArrowPrimitiveType> std::fmt::Debug for One<V, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {:?}", self.total.written, self.sum)
    }
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> One<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    pub(super) fn new(total: Total, state: DataType) -> Self {
        Self { sum: S::Native::default(), count: 0, total, state, values: PhantomData }
    }

    fn sum(&self) -> Option<S::Native> {
        (self.count > 0).then_some(self.sum)
    }
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> Accumulator for One<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            self.sum = self.total.checked(self.sum.add_checked(value.into()))?;
            self.count += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for value in states[0].as_primitive::<S>().iter().flatten() {
            self.sum = self.total.checked(self.sum.add_checked(value))?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            self.sum = self.total.checked(self.sum.sub_checked(value.into()))?;
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::new_primitive::<S>(self.sum(), &self.state)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.total.scalar(self.sum())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of all groups; null until there is a value.
pub(super) struct Many<V, S: ArrowPrimitiveType> {
    sums: Vec<S::Native>,
    heard: Vec<bool>,
    total: Total,
    state: DataType,
    values: PhantomData<fn(V)>,
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> Many<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    pub(super) fn new(total: Total, state: DataType) -> Self {
        Self { sums: Vec::new(), heard: Vec::new(), total, state, values: PhantomData }
    }

    fn add<T: ArrowPrimitiveType>(
        &mut self,
        values: &ArrayRef,
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()>
    where
        S::Native: From<T::Native>,
    {
        self.sums.resize(groups, S::Native::default());
        self.heard.resize(groups, false);
        let values = values.as_primitive::<T>();
        let keep = |row| filter.is_none_or(|keep| keep.is_valid(row) && keep.value(row));
        let every = values.null_count() == 0 && filter.is_none();
        for (row, &group) in group_indices.iter().enumerate() {
            if every || (values.is_valid(row) && keep(row)) {
                let sum = self.sums[group].add_checked(values.value(row).into());
                self.sums[group] = self.total.checked(sum)?;
                self.heard[group] = true;
            }
        }
        Ok(())
    }

    fn take(&mut self, emit: EmitTo) -> (Vec<S::Native>, NullBuffer) {
        (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.heard).into())
    }
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> GroupsAccumulator for Many<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.add::<V>(&values[0], group_indices, filter, groups)
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        group_indices: &[usize],
        groups: usize,
    ) -> Result<()> {
        self.add::<S>(&states[0], group_indices, None, groups)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, heard) = self.take(emit);
        let sums = PrimitiveArray::<S>::new(sums.into(), Some(heard));
        Ok(vec![Arc::new(sums.with_data_type(self.state.clone()))])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, heard) = self.take(emit);
        self.total.array(&sums, Some(heard))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<V>().unary::<_, S>(S::Native::from);
        let values = values.with_data_type(self.state.clone());
        match filter {
            None => Ok(vec![Arc::new(values)]),
            Some(keep) => {
                let left_out: BooleanArray =
                    keep.iter().map(|keep| Some(keep != Some(true))).collect();
                Ok(vec![arrow::compute::nullif(&values, &left_out)?])
            }
        }
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<S::Native>() + self.heard.capacity()
    }
}

/// The sum of the different values; of a sliding frame, too.
pub(super) struct Distinct<V, S: ArrowPrimitiveType> {
    /// How often each value is in the frame.
    counts: HashMap<S::Native, u64>,
    total: Total,
    state: DataType,
    values: PhantomData<fn(V)>,
}

impl<V, S: ArrowPrimitiveType> std::fmt::Debug for Distinct<V, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} values", self.total.written, self.counts.len())
    }
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> Distinct<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    pub(super) fn new(total: Total, state: DataType) -> Self {
        Self { counts: HashMap::default(), total, state, values: PhantomData }
    }
}

impl<V: ArrowPrimitiveType, S: ArrowPrimitiveType> Accumulator for Distinct<V, S>
where
    S::Native: Wide + From<V::Native>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            *self.counts.entry(value.into()).or_default() += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            for value in values.as_primitive::<S>().iter().flatten() {
                *self.counts.entry(value).or_default() += 1;
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            let value = value.into();
            match self.counts.get_mut(&value) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.counts.remove(&value);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = PrimitiveArray::<S>::from_iter_values(self.counts.keys().copied());
        let values = values.with_data_type(self.state.clone());
        let offsets = OffsetBuffer::<i32>::from_lengths([values.len()]);
        let field = Arc::new(Field::new_list_field(self.state.clone(), true));
        let list = ListArray::try_new(field, offsets, Arc::new(values), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = None;
        for value in self.counts.keys() {
            let so_far: S::Native = sum.unwrap_or_default();
            sum = Some(self.total.checked(so_far.add_checked(*value))?);
        }
        self.total.scalar(sum)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(S::Native, u64)>()
    }
}
