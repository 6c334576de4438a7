/* The loaded objects, found by an address; their thread-local blocks. */
#include "internal.h"
#include "movable.h"

unsigned golib_tls_index;

int golib_library_of(const void *address, golib_library *out)
{
    MEMORY_BASIC_INFORMATION region;
    if (!VirtualQuery(address, &region, sizeof region) || region.Type != MEM_IMAGE)
        return 0;
    const uint8_t *base = region.AllocationBase;
    const IMAGE_NT_HEADERS *headers = (const IMAGE_NT_HEADERS *)(base + ((const IMAGE_DOS_HEADER *)base)->e_lfanew);
    const IMAGE_SECTION_HEADER *section = IMAGE_FIRST_SECTION(headers);
    const IMAGE_DATA_DIRECTORY *directory = &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_TLS];
    *out = (golib_library){.texts = 0};
    for (unsigned i = 0; i < headers->FileHeader.NumberOfSections; i++, section++) {
        const uint8_t *begin = base + section->VirtualAddress;
        if ((section->Characteristics & IMAGE_SCN_MEM_EXECUTE) && out->texts < GOLIB_MOST_TEXTS)
            out->text[out->texts++] = (golib_range){begin, begin + section->Misc.VirtualSize};
    }
    if (directory->Size) {
        const IMAGE_TLS_DIRECTORY *tls = (const IMAGE_TLS_DIRECTORY *)(base + directory->VirtualAddress);
        out->tls = golib_tls_blocks()[*(const DWORD *)(uintptr_t)tls->AddressOfIndex];
        out->tls_bytes = (size_t)(tls->EndAddressOfRawData - tls->StartAddressOfRawData) + tls->SizeOfZeroFill;
    }
    return 1;
}

int golib_tls_is_found(const char *block)
{
    enum { MOST_BLOCKS = 1088 };    /* as many as there are keys */
    for (unsigned i = 0; block && i < MOST_BLOCKS; i++) {
        if (golib_tls_blocks()[i] == block) {
            golib_tls_index = i;
            return 1;
        }
    }
    return 0;
}
