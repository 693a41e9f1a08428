// What a process that ended between the steps of giving an output its final name has left.
#pragma once

#include <filesystem>
#include <string>

namespace coldpress {

// Removes the temporary files of processes of this host that are no more.
void remove_leftovers(const std::filesystem::path& out);

// `manifest`: the full one of an output that was proven and only lacked its names (export.h's
// finish()). True: the output is there, whole, and this is its manifest. False: it is not, and what
// was there of it is gone.
bool recover_output(const std::filesystem::path& out, const std::string& manifest);

}  // namespace coldpress
