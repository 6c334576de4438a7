/* Replaces functions that loaded libraries import by name (imports.c). */
#ifndef GOLIB_IMPORTS_H
#define GOLIB_IMPORTS_H

typedef struct golib_import {
    const char *symbol;
    const char *only_in;    /* a part of the library's file name; NULL: of any library */
    void *replacement;
    int replaced;           /* the number of places */
    void *original; /* what the last of them held: the function itself where the dynamic linker binds at once */
} golib_import;

/* Replaces the imports of every library loaded since the last call, except the interpreter and this library. Every call
 * passes the same table. GIL held. */
void golib_imports_replace(golib_import *imports, int n);
/* Replaces those of the one library that `address` lies in. GIL held. */
void golib_imports_replace_at(const void *address, golib_import *imports, int n);

#endif
