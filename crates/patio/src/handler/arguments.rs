//! The arguments of a handler as one value: a tuple of extractors, of which the last may read the payload.

use super::{Call, ExtractError};
use crate::extract::{FromParts, FromPayload, Needs, ViaParts};

/// All arguments of a handler. `M` tells how the last one is extracted.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not the arguments of a handler",
    note = "each argument is an extractor: it implements `FromParts`, or, if it is the last, `FromPayload`"
)]
pub trait FromCall<M>: Sized {
    /// Extracts them in their order; the first that fails ends it.
    fn from_call(call: &mut Call) -> Result<Self, ExtractError>;

    /// What all of them need.
    fn needs(needs: &mut Needs);
}

impl FromCall<ViaParts> for () {
    fn from_call(_call: &mut Call) -> Result<Self, ExtractError> {
        Ok(())
    }

    fn needs(_needs: &mut Needs) {}
}

macro_rules! arguments {
    ($($P:ident)* , $Last:ident) => {
        impl<M, $($P,)* $Last> FromCall<M> for ($($P,)* $Last,)
        where
            $($P: FromParts,)*
            $Last: FromPayload<M>,
        {
            fn from_call(call: &mut Call) -> Result<Self, ExtractError> {
                Ok((
                    $($P::from_parts(call).map_err(|rejection| ExtractError::new::<$P>(&rejection))?,)*
                    $Last::from_payload(call).map_err(|rejection| ExtractError::new::<$Last>(&rejection))?,
                ))
            }

            fn needs(needs: &mut Needs) {
                $($P::needs(needs);)*
                $Last::needs(needs);
            }
        }
    };
}

arguments!(, A);
arguments!(A, B);
arguments!(A B, C);
arguments!(A B C, D);
arguments!(A B C D, E);
arguments!(A B C D E, F);
arguments!(A B C D E F, G);
arguments!(A B C D E F G, H);
arguments!(A B C D E F G H, I);
arguments!(A B C D E F G H I, J);
arguments!(A B C D E F G H I J, K);
arguments!(A B C D E F G H I J K, L);

/// All arguments of a handler that is called without a payload.
#[diagnostic::on_unimplemented(
    message = "`{Self}` are not the arguments of such a handler",
    note = "each argument is an extractor that implements `FromParts`"
)]
pub trait FromCallParts: Sized {
    /// Extracts them in their order; the first that fails ends it.
    fn from_call_parts(call: &mut Call) -> Result<Self, ExtractError>;

    /// What all of them need.
    fn needs(needs: &mut Needs);
}

macro_rules! parts {
    ($($P:ident)*) => {
        impl<$($P: FromParts),*> FromCallParts for ($($P,)*) {
            fn from_call_parts(call: &mut Call) -> Result<Self, ExtractError> {
                Ok(($($P::from_parts(call).map_err(|rejection| ExtractError::new::<$P>(&rejection))?,)*))
            }

            fn needs(needs: &mut Needs) {
                $($P::needs(needs);)*
            }
        }
    };
}

impl FromCallParts for () {
    fn from_call_parts(_call: &mut Call) -> Result<Self, ExtractError> {
        Ok(())
    }

    fn needs(_needs: &mut Needs) {}
}

parts!(A);
parts!(A B);
parts!(A B C);
parts!(A B C D);
parts!(A B C D E);
parts!(A B C D E F);
parts!(A B C D E F G);
parts!(A B C D E F G H);
parts!(A B C D E F G H I);
parts!(A B C D E F G H I J);
parts!(A B C D E F G H I J K);
parts!(A B C D E F G H I J K L);
