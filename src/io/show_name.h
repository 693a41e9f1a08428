// Names from untrusted files, made safe to print: control bytes escaped, length bounded.
#pragma once

#include <string>
#include <string_view>

namespace coldpress {

// 'name', at most about 120 characters of it.
inline std::string show_name(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : name.substr(0, kLongest)) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) {
      out += "\\x";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  if (name.size() > kLongest) out += "...";
  return out + "'";
}

}  // namespace coldpress
