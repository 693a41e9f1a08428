#include "calibration/plain_text.h"

#include <fmt/format.h>

#include <cstddef>

namespace coldpress {
namespace {

// Bytes of the UTF-8 sequence at the start of `bytes`; 0 if there is none.
std::size_t sequence_length(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : (lead >= 0xe0 ? 3 : 2);
  if (lead < 0xc2 || lead > 0xf4 || bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return 0;
  }
  const unsigned second = byte(1);
  // Overlong forms, surrogates, and what is beyond U+10FFFF.
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

}  // namespace

Status check_plain_text(std::string_view bytes, const std::string& where) {
  constexpr std::size_t kOneIn = 100;
  const std::size_t nul = bytes.find('\0');
  if (nul != std::string_view::npos) {
    return invalid_argument(fmt::format(
        "{}: this is not a text: byte {} is NUL (plain UTF-8 or .jsonl is needed)", where, nul));
  }
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = sequence_length(bytes.substr(i, 4));
    wrong += length == 0 ? 1 : 0;
    i += length == 0 ? 1 : length;
  }
  if (wrong * kOneIn > bytes.size()) {
    return invalid_argument(fmt::format(
        "{}: this is not a text in UTF-8: {} of its {} bytes are not (convert it, e.g. with iconv)",
        where, wrong, bytes.size()));
  }
  return {};
}

}  // namespace coldpress
