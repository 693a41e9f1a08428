// Whether bytes that are to be read as text are text.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace coldpress {

// An error for what can only be a mistake (a model, an archive, another encoding): a NUL byte, or
// more than one byte in a hundred outside UTF-8. Fewer are read as U+FFFD. `where` names the file.
Status check_plain_text(std::string_view bytes, const std::string& where);

}  // namespace coldpress
