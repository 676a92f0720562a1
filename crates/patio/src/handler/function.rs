//! Functions of up to 12 arguments, called with a tuple of these.

/// A function whose arguments are the elements of `A`.
///
/// `FnOnce`, because each call uses up a clone: so a closure may move what it captured into its future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that can be a handler",
    label = "not a function of at most 12 arguments",
    note = "handlers are async functions or async closures, such as `async |socket: Socket| …`",
    note = "the argument types of closures must be written out"
)]
pub trait Function<A> {
    /// What it returns: a future, or it is no handler.
    type Return;

    /// Calls it.
    fn invoke(self, arguments: A) -> Self::Return;
}

macro_rules! function {
    ($($P:ident)*) => {
        impl<F, R, $($P),*> Function<($($P,)*)> for F
        where
            F: FnOnce($($P),*) -> R,
        {
            type Return = R;

            #[expect(non_snake_case, reason = "arguments are named as their types")]
            fn invoke(self, ($($P,)*): ($($P,)*)) -> R {
                self($($P),*)
            }
        }
    };
}

impl<F, R> Function<()> for F
where
    F: FnOnce() -> R,
{
    type Return = R;

    fn invoke(self, (): ()) -> R {
        self()
    }
}

function!(A);
function!(A B);
function!(A B C);
function!(A B C D);
function!(A B C D E);
function!(A B C D E G);
function!(A B C D E G H);
function!(A B C D E G H I);
function!(A B C D E G H I J);
function!(A B C D E G H I J K);
function!(A B C D E G H I J K L);
function!(A B C D E G H I J K L M);
