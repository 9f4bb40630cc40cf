//! `sum` that is exact or fails, whatever the order in which values come.
//!
//! `DataFusion`'s own goes on with a wrong number where a total leaves its type. This one adds in a
//! type that is twice as wide, so that only the total counts, and then looks whether it fits.

use super::total::{Distinct, Many, One, Total};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Int64Type, UInt64Type,
};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use std::sync::Arc;

/// With more digits than these, a sum of decimals needs more bits than a decimal has.
const NARROW_PRECISION_MAX: u8 = 28;

/// `DataFusion`'s `sum` but for whole numbers and decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    plain: Sum,
    /// What is added, as it was written.
    of: Option<String>,
}

impl CheckedSum {
    pub(super) fn new() -> Self {
        Self { plain: Sum::new(), of: None }
    }

    pub(super) fn of(written: &str) -> Self {
        Self { plain: Sum::new(), of: Some(written.to_owned()) }
    }

    pub(super) fn is_named(&self) -> bool {
        self.of.is_some()
    }

    fn total(&self, returns: &DataType) -> Total {
        let of = self.of.as_deref().unwrap_or("…");
        Total { written: format!("sum({of})"), returns: returns.clone() }
    }
}

/// What a sum adds and what it adds it in; `None` where the plain one is exact, or as good as any.
#[derive(Clone, Copy)]
enum Kind {
    Signed,
    Unsigned,
    Narrow,
    Wide,
}

impl Kind {
    fn of(values: &DataType) -> Option<Self> {
        match values {
            DataType::Int64 => Some(Self::Signed),
            DataType::UInt64 => Some(Self::Unsigned),
            DataType::Decimal128(precision, _) if *precision <= NARROW_PRECISION_MAX => {
                Some(Self::Narrow)
            }
            DataType::Decimal128(..) => Some(Self::Wide),
            _ => None,
        }
    }

    fn state(self, values: &DataType) -> DataType {
        match (self, values) {
            (Self::Narrow, DataType::Decimal128(_, scale)) => DataType::Decimal128(38, *scale),
            (Self::Wide, DataType::Decimal128(_, scale)) => DataType::Decimal256(76, *scale),
            _ => DataType::Decimal128(38, 0),
        }
    }
}

/// Makes a generic type for what is added and what it is added in.
macro_rules! by_kind {
    ($kind:expr, $make:ident, $($arg:expr),*) => {
        match $kind {
            Kind::Signed => Box::new($make::<Int64Type, Decimal128Type>::new($($arg),*)),
            Kind::Unsigned => Box::new($make::<UInt64Type, Decimal128Type>::new($($arg),*)),
            Kind::Narrow => Box::new($make::<Decimal128Type, Decimal128Type>::new($($arg),*)),
            Kind::Wide => Box::new($make::<Decimal128Type, Decimal256Type>::new($($arg),*)),
        }
    };
}

fn kind_of(args: &AccumulatorArgs) -> Option<(Kind, DataType)> {
    let values = args.expr_fields.first()?.data_type();
    let kind = Kind::of(values)?;
    Some((kind, kind.state(values)))
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
        let values = args.input_fields.first().map(|field| field.data_type());
        let Some((kind, values)) = values.and_then(|values| Some((Kind::of(values)?, values)))
        else {
            return self.plain.state_fields(args);
        };
        let state = kind.state(values);
        let field = if args.is_distinct {
            let name = format_state_name(args.name, "sum distinct");
            Field::new_list(name, Field::new_list_field(state, true), false)
        } else {
            Field::new(format_state_name(args.name, "sum"), state, true)
        };
        Ok(vec![Arc::new(field)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some((kind, state)) = kind_of(&args) else { return self.plain.accumulator(args) };
        let total = self.total(args.return_type());
        Ok(if args.is_distinct {
            by_kind!(kind, Distinct, total, state)
        } else {
            by_kind!(kind, One, total, state)
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let Some((kind, state)) = kind_of(&args) else {
            return self.plain.create_groups_accumulator(args);
        };
        let total = self.total(args.return_type());
        Ok(by_kind!(kind, Many, total, state))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match kind_of(&args) {
            Some(_) => self.accumulator(args),
            None => self.plain.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
