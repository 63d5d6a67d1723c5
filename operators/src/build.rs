//! (in work)
/// (in work)
pub struct Build<'s> {
    _p: std::marker::PhantomData<&'s ()>,
}
