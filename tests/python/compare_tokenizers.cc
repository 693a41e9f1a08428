// compare_tokenizers DIR: exit code 0 if coldpress gives the ids that each DIR/*/ids.json
// (make_tokenizers.py) has for the tokenizer.json beside it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>
#include <vector>

#include "io/file.h"
#include "io/json.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {
namespace {

// The same tokens in another order: a unigram model scores both the same, but for the order of its
// sums.
bool is_tie(std::vector<int32_t> a, std::vector<int32_t> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

namespace fs = std::filesystem;

constexpr int kShown = 3;  // differences per tokenizer

Result<int> differences(const fs::path& folder) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json reference, read_json_file(folder / "ids.json"));
  COLDPRESS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::open(folder));
  int different = 0;
  for (const Json& entry : reference.at("texts")) {
    const auto text = entry.at("text").get<std::string>();
    const auto expected = entry.at("ids").get<std::vector<int32_t>>();
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer->encode(text, true));
    if (ids == expected || is_tie(ids, expected)) continue;
    if (++different > kShown) continue;
    fmt::print(stderr, "{}: {}\n  tokenizers: {}\n  coldpress:  {}\n", folder.filename().string(),
               entry.at("text").dump(), entry.at("ids").dump(), Json(ids).dump());
  }
  fmt::print("{} ({}): {} texts, {} different\n", folder.filename().string(), tokenizer->describe(),
             reference.at("texts").size(), different);
  return different;
}

int run(const fs::path& root) {
  std::set<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(root)) folders.insert(entry.path());
  int different = 0;
  for (const fs::path& folder : folders) {
    const auto count = differences(folder);
    if (!count.ok()) fmt::print(stderr, "{}\n", count.status().message());
    different += count.ok() ? *count : 1;
  }
  return different == 0 && !folders.empty() ? 0 : 1;
}

}  // namespace
}  // namespace coldpress

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: compare_tokenizers DIR\n");
    return 2;
  }
  return coldpress::run(argv[1]);
}
