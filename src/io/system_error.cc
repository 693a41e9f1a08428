#include "io/system_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace coldpress {

Status system_error(const std::string& action, const std::filesystem::path& path, int error) {
  const char* advice = "";
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      advice = "; free some space or choose another place";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      advice = "; check the permissions or choose another place";
      break;
    case EFBIG:
      advice = "; the file system or a limit of this user does not allow files this large";
      break;
    default:
      break;
  }
  const std::string message =
      fmt::format("cannot {} {}: {}{}", action, path.string(), std::strerror(error), advice);
  return {error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo, message};
}

}  // namespace coldpress
