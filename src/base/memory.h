// Where the pages of large buffers come from: the process's own memory, or something that the
// system can take back when memory is short (io/spill.h).
#pragma once

#include <cstddef>

#include "base/status.h"

namespace coldpress {

class Memory {
 public:
  virtual ~Memory() = default;
  // `bytes` > 0 of whole pages, zeroed and writable, for unmap_pages(). Callable from any thread.
  virtual Result<void*> map(std::size_t bytes) const = 0;
};

// Anonymous pages: what a process is charged for until it gives them back.
const Memory& main_memory();

// Gives back what map(bytes) gave.
void unmap_pages(void* pages, std::size_t bytes);

// Hints for buffers that are visited in order, and may be more than memory holds: `bytes` from
// `data` on are wanted next, or not before all else is. They change no value.
void will_need(const void* data, std::size_t bytes);
void will_not_need(const void* data, std::size_t bytes);

// Pages of a read-only mapped file leave the process; they come back when read.
void drop_mapped(const void* data, std::size_t bytes);

// What small buffers have left behind in the C library's heap goes back to the system.
void trim_heap();

// From here on, blocks of 128 KiB or more have pages of their own, which go back as they are freed.
// Else the C library raises that size with each one that it frees, and the heap grows by the holes
// between what is still in use. For the whole process; costs some system time.
void keep_heap_small();

}  // namespace coldpress
