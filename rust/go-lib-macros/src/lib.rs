//! The attributes of go-lib, which re-exports them: use them as `go_lib::main` and `go_lib::run`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::{parse_macro_input, Error, FnArg, ItemFn};

/// Runs the function's body as the first goroutine: `#[go_lib::main] fn main() { … }`.
///
/// The runtime starts, the body runs in `go_lib::run`, and its value is the function's: `()`, an
/// `ExitCode`, a `Result` for `?`. When `main` returns the process ends, as in Go, whatever other
/// goroutines do.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    in_run("main", args, item)
}

/// Runs the function's body as a goroutine, and the caller waits: `#[go_lib::run] fn f(…) -> T`.
///
/// For any function: its parameters move into the goroutine, its value comes back. Called by a
/// goroutine it is an ordinary call. Parameters and value must be `Send` and `'static`.
#[proc_macro_attribute]
pub fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    in_run("run", args, item)
}

fn in_run(name: &str, args: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let wrapped = if args.is_empty() {
        wrap(name, &function)
    } else {
        let text = format!("#[go_lib::{name}] takes no arguments");
        Err(Error::new_spanned(proc_macro2::TokenStream::from(args), text))
    };
    wrapped.unwrap_or_else(|e| refuse(&e, function)).into()
}

/// The error, and a function of this name, so that it is the only one.
fn refuse(error: &Error, mut function: ItemFn) -> proc_macro2::TokenStream {
    let error = error.to_compile_error();
    function.sig.asyncness = None;
    function.block = syn::parse_quote!({ ::core::unimplemented!() });
    quote!(#error #function)
}

/// The function with its body in a closure that `go_lib::run` gets.
fn wrap(name: &str, function: &ItemFn) -> Result<proc_macro2::TokenStream, Error> {
    let ItemFn { attrs, vis, sig, block } = function;
    if let Some(keyword) = &sig.asyncness {
        let text = format!(
            "#[go_lib::{name}] takes an ordinary function: a goroutine may block, remove `async`"
        );
        return Err(Error::new_spanned(keyword, text));
    }
    if let Some(keyword) = &sig.constness {
        let text = format!("#[go_lib::{name}] starts a goroutine: remove `const`");
        return Err(Error::new_spanned(keyword, text));
    }
    if let Some(FnArg::Receiver(this)) = sig.inputs.first() {
        let text = format!("#[go_lib::{name}] takes a function without `self`");
        return Err(Error::new_spanned(this, text));
    }
    // The closure has the function's return type, so that `?`, `return` and inference work.
    let output = &sig.output;
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            ::go_lib::run(move || #output #block)
        }
    })
}
