// From one container to the other: Hugging Face folders to GGUF files and back.
#pragma once

#include <string>
#include <unordered_set>

#include "base/status.h"
#include "export/export.h"
#include "export/layout.h"

namespace coldpress {

// The layout of a source written in the other container; `quantised` by source name. Tensors that
// were not quantised: to GGUF, vectors become F32 and matrices the dense type; to a folder, plain
// types stay and block types become the dense type. Rotary rows and gains are rearranged as the
// architecture says. A tensor that the architecture does not know is refused.
Result<Layout> plan_conversion(const ExportRequest& request,
                               const std::unordered_set<std::string>& quantised);

}  // namespace coldpress
