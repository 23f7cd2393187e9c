//! The scalar function `window_bin`: the start of the query's window around a time, in the query's
//! zone. Stored windows are sorted by subject, then start, so most rows fall into the last window.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array as _, Int64Array, cast::AsArray as _};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use jiff::tz::TimeZone;
use weir_meter::zone::{WindowSize, Windows};

/// `window_bin(time) -> window start`, both microseconds since 1970, UTC.
pub(crate) fn window_bin(size: WindowSize, zone: TimeZone) -> ScalarUDF {
    ScalarUDF::new_from_impl(WindowBin {
        size,
        zone,
        signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable),
    })
}

#[derive(Debug)]
struct WindowBin {
    size: WindowSize,
    zone: TimeZone,
    signature: Signature,
}

impl PartialEq for WindowBin {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.zone == other.zone
    }
}

impl Eq for WindowBin {}

impl Hash for WindowBin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.size.hash(state);
        self.zone.iana_name().hash(state);
    }
}

impl ScalarUDFImpl for WindowBin {
    fn name(&self) -> &str {
        "window_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times] = args.args.as_slice() else {
            return exec_err!("window_bin takes one time");
        };
        let times = times.to_array(args.number_rows)?;
        let Some(times) = times.as_primitive_opt::<Int64Type>() else {
            return exec_err!("window_bin takes Int64, not {}", times.data_type());
        };
        let mut windows = Windows::new(self.size, self.zone.clone());
        let starts: Int64Array = times.iter().map(|time| time.map(|time| windows.window(time).0)).collect();
        Ok(ColumnarValue::Array(Arc::new(starts)))
    }
}
