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

/* The words through which one library calls one function. */
enum { GOLIB_MOST_WORDS = 4 };
typedef struct golib_import_words {
    struct {
        void **word, *before;   /* before: NULL while the word is as it was found */
        int is_sealed;          /* read-only since the library was relocated */
    } at[GOLIB_MOST_WORDS];
    int n;
} golib_import_words;

/* Finds those of the library around `address`, be it the interpreter; how many there are. GIL held, as below. */
int golib_import_find(golib_import_words *words, const void *address, const char *symbol);
/* Has them lead to `replacement`, or, if they do, to where they led before. A word that leads elsewhere by now is somebody
 * else's. */
void golib_import_write(golib_import_words *words, void *replacement);
void golib_import_restore(golib_import_words *words, void *replacement);

#endif
